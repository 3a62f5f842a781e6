"""What is answered over HTTP, a blueprint for each part."""
