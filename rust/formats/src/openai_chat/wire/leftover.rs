//! Members of inner objects that nobody here knows: kept as one object under the inner object's name, and written back into it.

use fairlead_ir::{Member, Raw, Text};

use crate::write::Object;

/// What was left of the object called `name`, as a member of the `rest` of what holds it.
pub(crate) fn keep(name: &'static str, members: &[Member<'_>], rest: &mut Vec<Member<'_>>) {
    if members.is_empty() {
        return;
    }
    let mut json = Vec::new();
    let mut object = Object::open(&mut json);
    object.members(members);
    object.close();
    rest.push(Member { name: Text::word(name), value: Raw::owned(json) });
}

/// Writes what was left of the object called `name` into that object.
pub(crate) fn restore(rest: &[Member<'_>], name: &str, object: &mut Object<'_>) {
    for member in rest.iter().filter(|member| member.name.is(name)) {
        object.inside(member.value.as_bytes());
    }
}

/// Writes the members of `rest` that are none of the `inner` objects'.
pub(crate) fn write_others(rest: &[Member<'_>], inner: &[&str], object: &mut Object<'_>) {
    for member in rest.iter().filter(|member| !inner.iter().any(|name| member.name.is(name))) {
        object.members(std::slice::from_ref(member));
    }
}
