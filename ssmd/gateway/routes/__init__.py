"""What the gateway answers over HTTP, one blueprint per file."""
