//! What of a known object nobody else knows: carried as a member with the object's name whose value holds only the unknown ones, so
//! that the object itself can be read into the canonical request.

use fairlead_ir::{Member, Raw, Text};

use super::Job;
use crate::json::walk;
use crate::write::Object;

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

/// What a request carries for the object called `name`, when it was read from the target's dialect.
pub(crate) fn of<'r>(job: &Job<'_, 'r>, name: &str) -> Option<&'r Raw<'r>> {
    let request = job.request;
    request.rest.iter().find(|member| job.own && member.name.is(name)).map(|member| &member.value)
}

/// Whether the carried object has a member called `name`.
pub(crate) fn has(carried: Option<&Raw<'_>>, name: &str) -> bool {
    carried.is_some_and(|raw| walk::member(raw.as_bytes(), name).is_ok_and(|member| member.is_some()))
}

/// Writes the carried members into their object.
pub(crate) fn write(carried: Option<&Raw<'_>>, object: &mut Object<'_>) {
    if let Some(raw) = carried {
        object.inside(raw.as_bytes());
    }
}
