"""What `fairlead top` is made of: where its figures come from, what they look like, and the screen that shows them."""
