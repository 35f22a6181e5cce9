"""Every bound that both parties keep has its name here; the bank's own limits stand in its configuration."""

FRAME_BYTES_BEFORE_SESSION = 64 * 1024
"""Largest frame body before a session is open; in the stage password of a connection's first request."""

FRAME_BYTES_IN_SESSION = 1024 * 1024
"""Largest frame body inside a session, of an answer in the password stage, and at the certificate authority's desk."""

FRAME_BYTES_WITH_LIST = 6 * 1024 * 1024
"""Largest frame body of the two answers that carry a revocation list: the desk's list, and the bank's evidence."""

RECORDS_PER_SESSION = 2**32
"""Records under one key; AES-GCM with counter nonces is sound far beyond it."""

CLOCK_TOLERANCE_SECONDS = 300
"""How far the clocks of customer and bank may differ when a session is opened."""

DESCRIPTION_CHARACTERS = 140
"""Remittance information, ISO 20022 Max140Text."""

IDENTIFIER_CHARACTERS = 35
"""Transfer identifier, ISO 20022 Max35Text."""

AMOUNT_MINOR = 10**15
"""Largest single amount in minor units, and largest sum of a bulk order; every balance stays far inside 64 bits."""

PAYMENTS_IN_ORDER = 1000
"""Payments of one bulk order: with the longest texts in any script (660 bytes each) they fit a session's frame."""

ORDER_BYTES_UNDER_PASSWORD = 320 * 1024
"""Longest order in the stage password, where bytes go three times through base64 into a frame, and so does evidence."""

STATEMENT_LINES = 500
"""Lines in one statement answer; the client asks for the next page."""

REQUESTS_IN_FLIGHT = 64
"""Outstanding requests of one session."""
