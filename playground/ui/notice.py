"""The notice a visitor agrees to before anything is stored. A changed text takes a new version."""

VERSION = "2026-11-1"
TEXT = (
    "Your prompt, both replies and your vote are stored, and may be published under CC BY 4.0 to train and compare "
    "decoding policies. Do not enter personal data. You are known only by a random id kept in this browser."
)
STORAGE_KEY = "adaptive-decoding-voter"
STORAGE_SECRET = "an opaque random id is no secret"  # fixed, so that the id survives a restart of the server
