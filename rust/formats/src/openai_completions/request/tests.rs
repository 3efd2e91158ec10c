//! The members that are looked for.

use crate::openai_chat;
use crate::request::FIRST_OWN;

#[test]
fn chats_readers_find_chats_members() {
    assert_eq!(super::KEYS[FIRST_OWN..FIRST_OWN + 4], openai_chat::request::KEYS[FIRST_OWN..]);
    assert_eq!(super::KEYS[super::BEST_OF], "best_of");
}
