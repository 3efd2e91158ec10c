//! What of a known object nobody else knows: carried as a member with the object's name whose value holds only the unknown ones, so that
//! the object itself can be read into the canonical request.

use fairlead_ir::{Dialect, Member, Raw, Request, Text};

use crate::json::walk;
use crate::write::Object;

/// The members whose objects are read in part.
const PARTLY_KNOWN: [&str; 4] = ["inferenceConfig", "toolConfig", "outputConfig", "additionalModelRequestFields"];

/// The member that carries `unknown`, if there are any.
pub(crate) fn carry(name: &'static str, unknown: &[Member<'_>]) -> Option<Member<'static>> {
    if unknown.is_empty() {
        return None;
    }
    let mut value = Vec::new();
    let mut object = Object::open(&mut value);
    object.members(unknown);
    object.close();
    Some(Member { name: Text::word(name), value: Raw::owned(value) })
}

/// What `request` carries for the object called `name`; empty for a request of another dialect.
pub(crate) fn of<'r>(request: &'r Request<'_>, name: &str) -> Vec<Member<'r>> {
    let own = request.source == Dialect::BedrockConverse;
    let carried = request.rest.iter().find(|member| own && member.name.is(name));
    let members = carried.into_iter().flat_map(|member| walk::members(member.value.as_bytes()).map_while(Result::ok));
    members.map(|member| Member { name: Text::escaped(member.key), value: Raw::json(member.value) }).collect()
}

/// Whether `member` is written into an object of its name rather than as it is.
pub(crate) fn is_carried(member: &Member<'_>) -> bool {
    PARTLY_KNOWN.iter().any(|name| member.name.is(name)) && member.value.as_bytes().starts_with(b"{")
}
