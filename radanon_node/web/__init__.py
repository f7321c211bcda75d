"""Status pages, health and metrics over HTTP. Nothing here shows an identity; originals are never served."""
