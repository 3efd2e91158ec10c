#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use fairlead_ir::Terms;

const PROVIDERS: &str = r#"[
    {"slug":"lab","name":"Lab","dialects":{"openai_chat":"http://127.0.0.1:9000/v1/","anthropic_messages":"http://[::1]:9000/v1"},
     "keys":[{"secret":"one"},{"secret":"two"}],"headers":{"Anthropic-Version":"2023-06-01","X-Lab":"yes","user-agent":"lab"}},
    {"slug":"open","name":"Open","dialects":{"openai_chat":"https://open.example/api"},"auth":{"scheme":"header","name":"X-Api-Key"},"keys":[{"secret":"k"}]}
]"#;

fn compile(providers: &str, models: &str) -> Result<Snapshot, SnapshotError> {
    Snapshot::from_json(format!(r#"{{"version":1,"providers":{providers},"models":{models}}}"#).as_bytes())
}

fn model(id: &str, endpoint: &str) -> String {
    format!(
        r#"[{{"id":"{id}","aliases":["nick"],"endpoints":[{{"id":1,"upstream_model":"up","price":{{"prompt":3,"completion":5}},{endpoint}}}]}}]"#
    )
}

#[test]
fn names_resolve() {
    let snapshot = compile(PROVIDERS, &model("acme/fast", r#""provider":"open""#)).unwrap();
    assert!(snapshot.model("acme/fast").is_some());
    assert!(snapshot.model("openrouter/acme/fast").is_some());
    assert!(snapshot.model("acme/fst").is_none());
    assert_eq!(snapshot.nearest("acme/fst"), Some("acme/fast"));
    assert_eq!(snapshot.nearest("something else entirely"), None);
    let endpoint = &snapshot.model("nick").unwrap().endpoints[0];
    assert_eq!(endpoint.prices.base().cache_read, PicoUsd(3));
    assert_eq!(endpoint.prices.base().reasoning, PicoUsd(5));
}

/// The table of an endpoint with these overrides of the price 3, 5.
fn table(overrides: &str) -> Result<PriceTable, SnapshotError> {
    let price = format!(r#"{{"prompt":3,"completion":5,"overrides":{overrides}}}"#);
    let models = format!(r#"[{{"id":"a/b","endpoints":[{{"id":1,"provider":"open","upstream_model":"up","price":{price}}}]}}]"#);
    compile(PROVIDERS, &models).map(|snapshot| snapshot.models[0].endpoints[0].prices.clone())
}

#[test]
fn prices_have_conditions() {
    let check = |overrides: &str, prompt_tokens, tier, expected: [u64; 3]| {
        let price = table(overrides).unwrap().at(prompt_tokens, Terms { tier, unix_ms: 0 });
        assert_eq!([price.prompt, price.completion, price.cache_read].map(|price| price.0), expected, "{overrides}");
    };
    check("[]", 9, Tier::Standard, [3, 5, 3]);
    check(r#"[{"rates":{"completion":6}}]"#, 9, Tier::Standard, [3, 6, 3]);
    let long = r#"[{"prompt_tokens_above":8,"rates":{"prompt":7}},{"service_tier":"flex","rates":{"cache_read":1}}]"#;
    check(long, 8, Tier::Standard, [3, 5, 3]);
    check(long, 9, Tier::Standard, [7, 5, 7]);
    check(long, 9, Tier::Flex, [7, 5, 1]);
    // The first minute of 1970 was one of a Thursday.
    check(r#"[{"hours":[[4320,4321]],"rates":{"prompt":7}}]"#, 0, Tier::Standard, [7, 5, 7]);
    check(r#"[{"hours":[[4321,4400]],"rates":{"prompt":7}}]"#, 0, Tier::Standard, [3, 5, 3]);
}

#[test]
fn wrong_conditions_are_told() {
    let check = |overrides: &str, words: &str| {
        let error = table(overrides).unwrap_err().to_string();
        assert!(error.contains(words), "{overrides}: {error}");
    };
    let place = "models.a/b.endpoints.0.price.overrides.0";
    check(
        r#"[{"service_tier":"slow","rates":{}}]"#,
        &format!("{place}.service_tier: \"slow\" is no service tier; there are default, flex"),
    );
    check(r#"[{"hours":[[10080,10090]],"rates":{}}]"#, &format!("{place}.hours: 10080 to 10090 is no time of a week"));
    check(r#"[{"hours":[[9,9]],"rates":{}}]"#, "9 to 9 is no time");
    check(r#"[{"hours":[[0,1441]],"rates":{}}]"#, "of a day at most");
    check(r#"[{"rates":{"image":1}}]"#, "unknown field `image`");
}

#[test]
fn presets_are_names_with_wishes() {
    let check = |presets: &str, name: &str, expected: Option<Found>| {
        let models = model("acme/fast", r#""provider":"open""#);
        let json = format!(r#"{{"version":1,"providers":{PROVIDERS},"models":{models},"presets":{presets}}}"#);
        assert_eq!(Snapshot::from_json(json.as_bytes()).unwrap().find(name), expected, "{name}");
    };
    let presets =
        r#"[{"name":"careful","model":"nick","strict_translation":true},{"name":"cached","model":"acme/fast","automatic_cache":true}]"#;
    let plain = Found { model: 0, strict_translation: false, automatic_cache: false };
    check("[]", "acme/fast", Some(plain));
    check(presets, "nick", Some(plain));
    check(presets, "@preset/careful", Some(Found { strict_translation: true, ..plain }));
    check(presets, "openrouter/@preset/cached", Some(Found { automatic_cache: true, ..plain }));
    check(presets, "@preset/carefull", None);
    check(presets, "careful", None);
    check(r#"[{"name":"loose","fields":{"seed":1}}]"#, "@preset/loose", None);
}

#[test]
fn what_is_absent_says_why() {
    let json = format!(
        r#"{{"version":1,"providers":{PROVIDERS},"models":[],"absent_providers":[{{"names":["azure","Azure OpenAI"],"why":"it is off"}}],
        "absent_models":[{{"names":["acme/old","old"],"why":"it was shut down"}}]}}"#
    );
    let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
    let check = |found: Option<&str>, expected: Option<&str>| assert_eq!(found, expected);
    check(snapshot.absent_provider("azure openai"), Some("it is off"));
    check(snapshot.absent_provider("azur"), None);
    check(snapshot.absent_model("openrouter/acme/old"), Some("it was shut down"));
    check(snapshot.absent_model("old"), Some("it was shut down"));
    check(snapshot.absent_model("acme/new"), None);
}

#[test]
fn endpoints_have_their_own_traits_and_their_providers() {
    let providers = r#"[{"slug":"lab","name":"Lab","dialects":{"openai_chat":"http://x"},"quirks":["no_seed","no_stop"]}]"#;
    let check = |rest: &str, expected: &[&str], efforts: &[Effort]| {
        let snapshot = compile(providers, &model("a/b", &format!(r#""provider":"lab"{rest}"#))).unwrap();
        let endpoint = &snapshot.models[0].endpoints[0];
        assert_eq!(endpoint.traits, Traits::from_names(expected).unwrap(), "{rest}");
        assert_eq!(endpoint.efforts, efforts, "{rest}");
    };
    check("", &["no_seed", "no_stop"], &[]);
    check(r#","quirks":["think_tags","no_seed"]"#, &["no_seed", "no_stop", "think_tags"], &[]);
    check(r#","efforts":["high","none","low","high"]"#, &["no_seed", "no_stop"], &[Effort::None, Effort::Low, Effort::High]);
}

#[test]
fn dialects_keep_their_order() {
    let check = |rest: &str, expected: &[Dialect]| {
        let snapshot = compile(PROVIDERS, &model("a/b", &format!(r#""provider":"lab"{rest}"#))).unwrap();
        let endpoint = &snapshot.models[0].endpoints[0];
        assert_eq!(endpoint.dialects, expected, "{rest}");
        for dialect in Dialect::ALL {
            assert_eq!(endpoint.target(dialect).is_some(), expected.contains(&dialect), "{rest} {dialect:?}");
        }
    };
    check("", &[Dialect::AnthropicMessages, Dialect::OpenaiChat]);
    check(r#","dialects":["openai_chat","anthropic_messages","openai_chat"]"#, &[Dialect::OpenaiChat, Dialect::AnthropicMessages]);
    check(r#","dialects":["openai_chat"]"#, &[Dialect::OpenaiChat]);
}

#[test]
fn what_routing_needs_to_know_arrives() {
    let endpoint = r#""provider":"open","region":"eu-central-1","quantization":"fp8","status":"deprecated","context_tokens":100,
        "max_prompt_tokens":80,"input_modalities":["text","image"],"output_modalities":["text"],"supported_parameters":["tools","seed"],
        "deprecated_on":"2026-10-01","shutdown_on":"2027-01-31","implicit_caching":true,"cache_ttl_seconds":[3600,300]"#;
    let snapshot = compile(PROVIDERS, &model("a/b", endpoint)).unwrap();
    let endpoint = &snapshot.models[0].endpoints[0];
    assert_eq!((endpoint.region.as_str(), endpoint.status), ("eu-central-1", wire::Status::Deprecated));
    assert_eq!((endpoint.context_tokens, endpoint.max_prompt_tokens), (Some(100), Some(80)));
    assert_eq!(endpoint.quantization, Quantizations::one("fp8").unwrap());
    assert_eq!(endpoint.input_modalities, Modalities::from_names(&["image", "text"]).unwrap());
    assert_eq!(endpoint.output_modalities, Modalities::one("text").unwrap());
    assert_eq!(endpoint.supported_parameters, Some(Parameters::from_names(&["seed", "tools"]).unwrap()));
    assert_eq!((endpoint.deprecated_on.as_deref(), endpoint.shutdown_on.as_deref()), (Some("2026-10-01"), Some("2027-01-31")));
    assert_eq!((endpoint.implicit_caching, endpoint.cache_ttl_seconds.as_slice()), (true, [300, 3600].as_slice()));

    let plain = compile(PROVIDERS, &model("a/b", r#""provider":"open""#)).unwrap();
    let endpoint = &plain.models[0].endpoints[0];
    assert_eq!((endpoint.quantization, endpoint.status), (Quantizations::one("unknown").unwrap(), wire::Status::Ga));
    assert_eq!((endpoint.supported_parameters, endpoint.input_modalities), (None, Modalities::NONE));
}

#[test]
fn policies_and_limits_of_credentials_arrive() {
    let providers = r#"[{"slug":"lab","name":"Lab","dialects":{"openai_chat":"http://x"},"headquarters":"FR","datacenters":["FR","US"],
        "data_policy":{"training":false,"retention_days":30},
        "keys":[{"secret":"one"},{"secret":"two","weight":3,"rpm":60,"tpm":1000,"max_concurrency":4}]},
        {"slug":"open","name":"Open","dialects":{"openai_chat":"http://y"}}]"#;
    let snapshot = compile(providers, "[]").unwrap();
    let lab = &snapshot.providers[0];
    assert_eq!(lab.data_policy, wire::DataPolicy { training: Some(false), retention_days: Some(30), zdr: None });
    assert_eq!((lab.headquarters.as_deref(), lab.datacenters.join(" ")), (Some("FR"), "FR US".to_owned()));
    let limited = CredentialLimits { weight: 3, rpm: Some(60), tpm: Some(1000), max_concurrency: Some(4) };
    assert_eq!(lab.credentials, [CredentialLimits::NONE, limited]);
    let open = &snapshot.providers[1];
    assert_eq!((open.data_policy, open.credentials.as_slice()), (wire::DataPolicy::default(), [CredentialLimits::NONE].as_slice()));
}

#[test]
fn limits_and_switches_arrive() {
    let snapshot = compile(PROVIDERS, &model("a/b", r#""provider":"lab","max_completion_tokens":7"#)).unwrap();
    assert_eq!(snapshot.models[0].endpoints[0].max_completion_tokens, Some(7));
    assert!(!snapshot.settings.responses_store);
    assert_eq!((snapshot.settings.responses_ttl_seconds, snapshot.settings.responses_store_bytes), (2_592_000, 1 << 30));
    assert_eq!(
        (snapshot.settings.decisions, snapshot.settings.decisions_ttl_seconds, snapshot.settings.decisions_bytes),
        (true, 2_592_000, 1 << 30)
    );
    let settings = r#"{"decisions":false,"responses_store":true,"responses_ttl_seconds":60,"responses_store_bytes":8192}"#;
    let json = format!(r#"{{"version":1,"settings":{settings},"providers":[],"models":[]}}"#);
    let settings = Snapshot::from_json(json.as_bytes()).unwrap().settings;
    assert_eq!((settings.responses_store, settings.responses_ttl_seconds, settings.responses_store_bytes), (true, 60, 8192));
    assert!(!settings.decisions);
}

#[test]
fn secrets_are_not_printed_but_known_to_redaction() {
    let keys = r#"[{"access_key_id":"AKID","secret":"hidden-half","session_token":"hidden-token"},{"access_key_id":"AKIE","secret":"hidden-other"}]"#;
    let auth = r#"{"scheme":"sigv4","region":"eu-central-1"}"#;
    let providers =
        format!(r#"[{{"slug":"aws","name":"AWS","dialects":{{"bedrock_converse":"https://b.example"}},"auth":{auth},"keys":{keys}}}]"#);
    let snapshot = compile(&providers, &model("a/b", r#""provider":"aws""#)).unwrap();
    // The heads are bytes: nobody reads them as text.
    let printed = format!("{snapshot:?}");
    assert!(printed.contains("AKID") && !printed.contains("hidden"), "{printed}");
    assert_eq!(snapshot.providers[0].exposed_secrets(), ["hidden-half", "hidden-token", "hidden-other"]);
}

#[test]
fn the_admin_token_is_known_by_its_hash() {
    let check = |hash: &str, expected: Option<Option<KeyHash>>| {
        let json = format!(r#"{{"version":1,"admin_token_hash":"{hash}","providers":[],"models":[]}}"#);
        assert_eq!(Snapshot::from_json(json.as_bytes()).ok().map(|snapshot| snapshot.admin_token_hash), expected, "{hash}");
    };
    check("", Some(None));
    check(&"ab".repeat(32), Some(Some([0xab; 32])));
    check("ab", None);
    check(&"zz".repeat(32), None);
}

#[test]
fn mistakes_name_their_place() {
    let check = |providers: &str, models: &str, path: &str, part: &str| {
        let error = compile(providers, models).unwrap_err();
        assert!(error.path.contains(path) && error.message.contains(part), "{error}");
    };
    let lab = |dialects: &str, rest: &str| format!(r#"[{{"slug":"lab","name":"Lab","dialects":{{{dialects}}}{rest}}}]"#);
    check(PROVIDERS, &model("a/b", r#""provider":"lap""#), "models.a/b.endpoints.0.provider", "no provider \"lap\"");
    check(PROVIDERS, &model("a/b", r#""provider":"open","dialects":["anthropic_messages"]"#), "endpoints.0.dialects", "does not speak");
    check(PROVIDERS, r#"[{"id":"a/b","endpoints":[]}]"#, "models.a/b", "no endpoint");
    check(PROVIDERS, &model("nick", r#""provider":"lab","typo":1"#), "snapshot", "typo");
    check(&lab(r#""openai_chat":"ftp://x""#, ""), "[]", "providers.lab", "http://");
    check(&lab(r#""openai_chat":"http://u:p@x""#, ""), "[]", "providers.lab", "credentials");
    check(&lab(r#""openai_chat":"http://x:99999""#, ""), "[]", "providers.lab", "port");
    check(&lab(r#""openai_chat":"http://x?y=1""#, ""), "[]", "providers.lab", "query");
    check(&lab("", ""), "[]", "providers.lab.dialects", "speaks nothing");
    check(&lab(r#""klingon":"http://x""#, ""), "[]", "providers.lab.dialects.klingon", "unknown dialect");
    check(&lab(r#""openai_chat":"http://x""#, r#","keys":[{"secret":"a\r\nb: c"}]"#), "[]", "providers.lab", "cannot carry");
    check(&lab(r#""openai_chat":"http://x""#, r#","headers":{"a b":"c"}"#), "[]", "providers.lab", "not a header name");
    let chat = |rest: &str| lab(r#""openai_chat":"http://x""#, rest);
    check(&chat(r#","quirks":["no_seed","no_sed"]"#), "[]", "providers.lab.quirks.1", "did you mean \"no_seed\"?");
    let quirk = model("a/b", r#""provider":"lab","quirks":["warp"]"#);
    check(PROVIDERS, &quirk, "models.a/b.endpoints.0.quirks.0", "\"warp\" is no quirk");
    let modality = model("a/b", r#""provider":"lab","input_modalities":["text","imagee"]"#);
    check(PROVIDERS, &modality, "models.a/b.endpoints.0.input_modalities.1", r#""imagee" is no modality; did you mean "image"?"#);
    let quantization = model("a/b", r#""provider":"lab","quantization":"fp7""#);
    check(PROVIDERS, &quantization, "models.a/b.endpoints.0.quantization.0", "is no quantization");
    let effort = model("a/b", r#""provider":"lab","efforts":["low","extreme"]"#);
    check(PROVIDERS, &effort, "models.a/b.endpoints.0.efforts.1", "there are none, minimal, low, medium, high, xhigh, max");
    let other = r#","dialect_auth":{"gemini_generate":{"scheme":"bearer"}}"#;
    check(&chat(other), "[]", "providers.lab.dialect_auth.gemini_generate", "does not speak");
    let pair = r#","keys":[{"access_key_id":"AKID","secret":"s"}]"#;
    check(&chat(pair), "[]", "providers.lab.dialects.openai_chat", "a key pair of AWS");
    let signed = |keys: &str| chat(&format!(r#","auth":{{"scheme":"sigv4","region":"eu-1"}},"keys":[{keys}]"#));
    check(&signed(""), "[]", "providers.lab", "no key to sign");
    check(&signed(r#"{"secret":"s"}"#), "[]", "providers.lab", "access_key_id");
    check(&signed(r#"{"secret":"s","access_key_id":"a,b"}"#), "[]", "providers.lab", "letters and digits");
    check(&signed(r#"{"secret":"s","access_key_id":"a","session_token":"x\n"}"#), "[]", "providers.lab", "cannot carry");
    check(&chat(r#","auth":{"scheme":"sigv4","region":"eu 1"},"keys":[]"#), "[]", "providers.lab", "no name of a region");
    check(&chat(r#","auth":{"scheme":"sigv4"}"#), "[]", "snapshot", "region");
    let named = |presets: &str, path: &str, part: &str| {
        let models = model("acme/fast", r#""provider":"open""#);
        let json = format!(r#"{{"version":1,"providers":{PROVIDERS},"models":{models},{presets}}}"#);
        let error = Snapshot::from_json(json.as_bytes()).unwrap_err();
        assert!(error.path == path && error.message.contains(part), "{error}");
    };
    let split = |splits: &str, path: &str, part: &str| named(&format!(r#""splits":[{splits}]"#), path, part);
    let preset = |presets: &str, path: &str, part: &str| named(&format!(r#""presets":[{presets}]"#), path, part);
    preset(r#"{"name":"p","model":"acme/fats"}"#, "presets.p.model", "did you mean \"acme/fast\"?");
    preset(r#"{"name":"p","model":"nick"},{"name":"q","model":"@preset/p"}"#, "presets.q.model", "no model");
    preset(r#"{"name":"p","model":"nick"},{"name":"p","model":"nick"}"#, "presets.p", "taken twice");
    preset(r#"{"name":"p","model":"nick","models":["nick","nik"]}"#, "presets.p.models.1", "did you mean \"nick\"?");
    let arm = r#"{"model":"nick","share":1}"#;
    split(&format!(r#"{{"name":"nick","arms":[{arm}]}}"#), "splits.nick", "taken twice");
    split(r#"{"name":"s","arms":[{"model":"nix:nitro","share":1}]}"#, "splits.s.arms.0.model", "no model");
    split(r#"{"name":"s","arms":[{"model":"nick","share":0}]}"#, "splits.s.arms", "no arm has a share");
    let shadow = |shadows: &str, path: &str, part: &str| named(&format!(r#""shadows":[{shadows}]"#), path, part);
    shadow(r#"{"of":"acme/fats","model":"nick","share_millionths":1}"#, "shadows.acme/fats", "did you mean \"acme/fast\"?");
    shadow(r#"{"of":"nick","model":"nik","share_millionths":1}"#, "shadows.nick.model", "did you mean \"nick\"?");
    shadow(r#"{"of":"nick","model":"acme/fast","share_millionths":1}"#, "shadows.nick", "its own shadow");
}

#[test]
fn presets_and_splits_arrive() {
    let models = model("acme/fast", r#""provider":"open""#);
    let presets = r#"[{"name":"p","model":"nick:free:nitro","models":["acme/fast:floor"],"provider":{"sort":"price"},"route":"sort","fields":{"seed":1},
        "cache_enabled":true,"cache_ttl_seconds":60,"version":"0a1b"}]"#;
    let splits = r#"[{"name":"s","arms":[{"model":"nick","share":1},{"model":"acme/fast:floor","share":9}]}]"#;
    let json = format!(r#"{{"version":1,"providers":{PROVIDERS},"models":{models},"presets":{presets},"splits":{splits}}}"#);
    let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
    let preset = Preset {
        name: "p".to_owned(),
        model: Some("nick:free:nitro".to_owned()),
        strict_translation: false,
        automatic_cache: false,
        cache_enabled: Some(true),
        cache_ttl_seconds: Some(60),
        models: vec!["acme/fast:floor".to_owned()],
        provider: Some(r#"{"sort":"price"}"#.into()),
        route: Some(r#""sort""#.into()),
        version: "0a1b".to_owned(),
        fields: Some(r#"{"seed":1}"#.into()),
        template: None,
    };
    assert_eq!(snapshot.presets, [preset]);
    assert_eq!(snapshot.model("@preset/p").unwrap().id.as_ref(), "acme/fast");
    assert_eq!(snapshot.splits[0].arms[1], wire::Arm { model: "acme/fast:floor".to_owned(), share: 9 });
}
