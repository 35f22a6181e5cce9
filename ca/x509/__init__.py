"""The X.509 form of what the authority vouches for; `ca.bridge` names what others use of it."""
