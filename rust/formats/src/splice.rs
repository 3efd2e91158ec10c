//! Byte-exact edits of a text.
