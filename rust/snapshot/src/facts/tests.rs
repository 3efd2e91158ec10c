#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;

#[test]
fn names_make_sets() {
    let tools = Parameters::from_names(&["tools", "tool_choice", "tools"]).unwrap();
    let both = tools.with(Parameters::one("seed").unwrap());
    assert_eq!(both.names().collect::<Vec<_>>(), ["seed", "tools", "tool_choice"]);
    assert!(both.contains(tools) && !tools.contains(both) && tools.contains(Parameters::NONE));
    assert_eq!(both.without(tools), Parameters::one("seed").unwrap());
    assert!(tools.without(both).is_empty());
    assert_eq!(format!("{tools:?}"), r#"{"tools", "tool_choice"}"#);
    assert_eq!(Parameters::from_names(&["tools", "toolz"]), Err(1));
    assert_eq!(Modalities::one("smell"), None);
}

#[test]
fn every_name_has_a_bit_of_its_own() {
    fn check<V: Vocabulary>() {
        assert!(V::NAMES.len() <= 32);
        for name in V::NAMES {
            assert_eq!(Names::<V>::one(name).unwrap().names().collect::<Vec<_>>(), [*name]);
        }
        assert_eq!(Names::<V>::all().names().collect::<Vec<_>>(), V::NAMES);
    }
    check::<Modality>();
    check::<Parameter>();
    check::<Quantization>();
}

#[test]
fn sets_of_modalities_are_what_they_say() {
    let check = |set: Modalities, expected: &[&str]| assert_eq!(set.names().collect::<Vec<_>>(), expected);
    check(Modalities::MEDIA, &["image", "file", "audio", "video"]);
    check(Modalities::FILE, &["file"]);
    check(Modalities::EMBEDDINGS, &["embeddings"]);
    check(Modalities::NO_CHAT, &["embeddings", "rerank", "speech", "transcription"]);
}
