//! Any body as a request with state of thoughts in it: whatever a client made of our tokens, opening it neither panics nor depends on
//! anything but the body, and writing what is left does not panic either.

#![no_main]

use fairlead_formats::translate::seals::{Keeper, Limits};
use fairlead_formats::translate::{Target, dialects};
use fairlead_ir::block::Maker;
use fairlead_ir::{Dialect, Text};
use libfuzzer_sys::fuzz_target;

// The first byte chooses the client's dialect, the second the provider's.
fuzz_target!(|data: &[u8]| {
    let [client, provider, body @ ..] = data else { return };
    let dialect = |byte: u8| Dialect::ALL[usize::from(byte) % Dialect::ALL.len()];
    let Ok(request) = dialects::decode_request(dialect(*client), body) else { return };
    let Ok(keeper) = Keeper::new(&[42; 32], Limits::default()) else { return };
    let maker = Maker { dialect: dialect(*provider), provider: Text::word("acme"), account: Text::word("key 1"), model: Text::word("m-1") };
    let (mut opened, mut again) = (request.clone(), request);
    let losses = keeper.open(&mut opened, &maker, 7, 0);
    assert_eq!(keeper.open(&mut again, &maker, 7, 1), losses);
    assert_eq!(again, opened);
    let _ = dialects::encode_request(&opened, &Target::new(maker.dialect, "m-1"));
});
