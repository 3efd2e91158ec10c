use crate::fleet::Fleet;
use crate::world::spec;
use fairlead_router::Conversation;
use fairlead_router::health::outcome::{Class, Outcome};

/// Eight endpoints at one price; more than one completion token means that a cache was used.
fn fleet<'a>(used_cache: bool, rest: &str, conversation: Conversation) -> Fleet<'a> {
    let specs: Vec<_> = (1..=8).map(|number| spec("a/b", &format!("p{number}"), 1_000, rest)).collect();
    let tokens = if used_cache { 100 } else { 1 };
    let mut fleet = Fleet::new(&specs, &[], move |_, _, _| Outcome { completion_tokens: tokens, ..Outcome::of(Class::Success) });
    fleet.need.conversation = Some(conversation);
    fleet
}

const SESSION: Conversation = Conversation { hash: 77, explicit: true };
const PREFIX: Conversation = Conversation { hash: 77, explicit: false };

/// How many endpoints twenty turns, so many milliseconds apart, went to.
fn spread(fleet: &mut Fleet<'_>, pause_ms: u64) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        seen.extend(fleet.request().0);
        fleet.now_ms += pause_ms;
    }
    seen.len()
}

fn check(used_cache: bool, rest: &str, conversation: Conversation, pause_ms: u64, sticks: bool) {
    let spread = spread(&mut fleet(used_cache, rest, conversation), pause_ms);
    assert_eq!(spread == 1, sticks, "{used_cache} {rest} {conversation:?} {pause_ms}: {spread}");
}

#[test]
fn a_conversation_stays_where_its_prompt_is() {
    check(true, "", PREFIX, 1_000, true);
    check(false, "", PREFIX, 1_000, false);
    check(false, "", SESSION, 1_000, true);
    // Ten minutes, unless the endpoint keeps it longer or shorter.
    check(false, "", SESSION, 599_000, true);
    check(false, "", SESSION, 601_000, false);
    check(false, r#""cache_ttl_seconds":[3600]"#, SESSION, 3_599_000, true);
    check(false, r#""cache_ttl_seconds":[300]"#, SESSION, 301_000, false);
}

#[test]
fn order_switches_it_off_and_accounts_share_nothing() {
    let mut fleet = fleet(true, "", SESSION);
    let pinned = fleet.request().0[0];
    assert_eq!(fleet.plan()[0], pinned);
    fleet.need.account = 9;
    assert!((0..20).any(|_| fleet.plan()[0] != pinned));
    fleet.need.account = 0;
    let other = if pinned == 1 { 2 } else { 1 };
    fleet.wishes.order = vec![format!("p{other}").into()];
    assert_eq!(fleet.plan()[0], other);
}

#[test]
fn an_error_falls_through_without_moving_the_pin() {
    let mut fleet = fleet(true, "", SESSION);
    let pinned = fleet.request().0[0];
    // A single failure among two attempts is an outage of half a minute.
    let position = pinned as usize - 1;
    fleet.board.entry(position).health.note(&Outcome::of(Class::Overloaded), fleet.now_ms, 1);
    fleet.need.conversation = Some(Conversation { explicit: false, ..SESSION });
    assert_ne!(fleet.plan()[0], pinned);
    // Neither does a good reply from elsewhere, also of a conversation that is pinned at once.
    fleet.need.conversation = Some(SESSION);
    for _ in 0..3 {
        assert_ne!(fleet.request().0[0], pinned);
    }
    fleet.now_ms += 31_000;
    assert_eq!(fleet.plan()[0], pinned);
}

#[test]
fn a_pin_that_is_out_of_the_question_makes_room() {
    let mut fleet = fleet(true, "", SESSION);
    let pinned = fleet.request().0[0];
    fleet.wishes.ignore = vec![format!("p{pinned}").into()];
    let other = fleet.request().0[0];
    fleet.wishes.ignore.clear();
    assert_eq!((fleet.plan()[0], pinned == other), (other, false));
}

#[test]
fn where_a_cached_prompt_is_no_cheaper_nothing_is_pinned() {
    let specs: Vec<_> = (1..=8).map(|number| spec("a/b", &format!("p{number}"), 0, "")).collect();
    let mut fleet = Fleet::new(&specs, &[], |_, _, _| Outcome::of(Class::Success));
    fleet.need.conversation = Some(SESSION);
    assert!(spread(&mut fleet, 1) > 1);
}
