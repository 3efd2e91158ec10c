//! Requests: their path here, their bodies in the folder.

pub(crate) mod decode;
pub(crate) mod encode;

use crate::sigv4;

/// The path of a call behind `/model/`: the model, percent-encoded once as it goes over the wire (ids hold colons, ARNs slashes too), and the
/// operation. The signature encodes it a second time.
pub fn path(model: &str, stream: bool) -> String {
    let mut path = String::with_capacity(model.len() + 24);
    sigv4::encode(model, b"", &mut path);
    path.push_str(if stream { "/converse-stream" } else { "/converse" });
    path
}

#[cfg(test)]
mod tests;
