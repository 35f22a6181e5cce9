"""The certificate authority: requests, telephone confirmation, certificates."""
