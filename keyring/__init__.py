"""The one place that runs GnuPG."""
