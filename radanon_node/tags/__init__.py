"""Identity in data elements: PS3.15 Annex E, pseudonyms, dates, search for what is left."""
