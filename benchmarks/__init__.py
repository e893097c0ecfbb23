"""Side-by-side measurements of tinycnn; README.md here says what is measured and how."""
