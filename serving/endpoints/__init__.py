"""Protocols: what each one's requests ask for, and the replies. Between ``http``, above, and ``wire``, below."""
