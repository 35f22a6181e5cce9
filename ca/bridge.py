"""One key has two certificate forms: what OpenPGP certifies is said in X.509 too, and checked.

Everything that others need of `ca.x509` is named here. The authority's operator makes (:func:`make_root`,
:func:`make_leaf`, :func:`make_crl`), an applicant asks (:func:`make_request`), everybody judges (:func:`judge`); keys
come from :func:`agent_key` and stay in GnuPG.
"""

from ca.x509.crl import REASONS, Revocation, RevocationList, make_crl, open_crl
from ca.x509.errors import RULES, CertificateRefused, KeyUseError, ProfileError
from ca.x509.judge import JudgedCertificate, judge, judge_leaf
from ca.x509.key import AgentKey, agent_key
from ca.x509.leaf import make_leaf
from ca.x509.profile import Holder, fingerprint_of
from ca.x509.request import SigningRequest, make_request, open_request
from ca.x509.root import Root, make_root, open_root

__all__ = [
    "REASONS",
    "RULES",
    "AgentKey",
    "CertificateRefused",
    "Holder",
    "JudgedCertificate",
    "KeyUseError",
    "ProfileError",
    "Revocation",
    "RevocationList",
    "Root",
    "SigningRequest",
    "agent_key",
    "fingerprint_of",
    "judge",
    "judge_leaf",
    "make_crl",
    "make_leaf",
    "make_request",
    "make_root",
    "open_crl",
    "open_request",
    "open_root",
]
