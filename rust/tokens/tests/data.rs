//! The files of `data/` are what they are made from. That the vocabularies are OpenAI's is checked by `tests/unit/test_tokens.py`, against
//! the sums that the Python package `tiktoken` carries.

#[path = "../examples/make_data/classes.rs"]
mod made;

#[test]
fn the_character_classes_are_those_of_regex_syntax() {
    let table = made::table().unwrap_or_default();
    assert!(table == include_bytes!("../data/character.classes"), "run the example make_data again");
}
