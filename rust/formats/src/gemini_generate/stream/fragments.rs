//! Vertex's pieces of arguments: values with the paths at which they belong, put together to one object.

use crate::json::Kind;
use crate::read::{Malformed, Reader};
use crate::text::escape;
use crate::write::{Array, Object, write_escaped};
use fairlead_ir::Text;

/// Arguments deeper than this are refused.
const MAX_DEPTH: usize = 64;
/// Arguments longer than this are refused, in bytes.
const MAX_BYTES: usize = 8 << 20;

/// Arguments while their pieces come.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    root: Vec<(String, Node)>,
    bytes: usize,
}

#[derive(Debug)]
enum Node {
    /// A number, `true`, `false` or `null` as written.
    Value(Vec<u8>),
    /// The inside of a string, and whether more of it follows.
    Text(Vec<u8>, bool),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

/// A step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Fragments {
    /// Takes the pieces of a `partialArgs`.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        reader.array(|_, reader| self.add_one(reader))
    }

    fn add_one(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let (mut path, mut node, mut more) = (None, None, false);
        reader.object(|key, reader| {
            match (key.name(), reader.kind()?) {
                ("jsonPath", _) => path = Some(steps(&reader.decoded()?).ok_or_else(|| Malformed::new("must be a path such as $.a[0]"))?),
                ("willContinue", _) => more = reader.flag()?,
                ("stringValue", _) => node = Some(Node::Text(reader.text()?.as_bytes().to_vec(), false)),
                ("numberValue" | "boolValue", Kind::Number | Kind::True | Kind::False) => {
                    node = Some(Node::Value(reader.raw()?.as_bytes().to_vec()));
                }
                ("nullValue", _) => {
                    reader.skip()?;
                    node = Some(Node::Value(b"null".to_vec()));
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        let path = path.ok_or_else(|| Malformed::new("has no \"jsonPath\""))?;
        let Some(node) = node else { return Ok(()) };
        self.bytes = self.bytes.saturating_add(node.bytes()).saturating_add(16);
        if self.bytes > MAX_BYTES {
            return Err(Malformed::new("makes the arguments too long"));
        }
        let slot = slot(&mut self.root, &path).ok_or_else(|| Malformed::new("does not fit the pieces before it"))?;
        slot.take(node, more);
        Ok(())
    }

    /// All of them as JSON.
    pub(super) fn json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes);
        write_members(&self.root, &mut out);
        out
    }
}

impl Node {
    fn bytes(&self) -> usize {
        match self {
            Node::Value(bytes) | Node::Text(bytes, _) => bytes.len(),
            Node::Object(_) | Node::Array(_) => 0,
        }
    }

    /// A piece of a string that goes on is added to it; everything else replaces.
    fn take(&mut self, piece: Node, more: bool) {
        match (self, piece) {
            (Node::Text(text, open @ true), Node::Text(piece, _)) => {
                text.extend_from_slice(&piece);
                *open = more;
            }
            (node, Node::Text(piece, _)) => *node = Node::Text(piece, more),
            (node, piece) => *node = piece,
        }
    }
}

/// The node at the end of the path, made where there is none yet.
fn slot<'n>(root: &'n mut Vec<(String, Node)>, path: &[Step]) -> Option<&'n mut Node> {
    let (Step::Key(key), rest) = path.split_first()? else { return None };
    let mut node = member(root, key);
    for step in rest {
        node = match (step, node) {
            (Step::Key(key), node) => {
                if matches!(node, Node::Value(value) if value == b"null") {
                    *node = Node::Object(Vec::new());
                }
                let Node::Object(members) = node else { return None };
                member(members, key)
            }
            (Step::Index(index), node) => {
                if matches!(node, Node::Value(value) if value == b"null") {
                    *node = Node::Array(Vec::new());
                }
                let Node::Array(elements) = node else { return None };
                if *index == elements.len() {
                    elements.push(Node::Value(b"null".to_vec()));
                }
                elements.get_mut(*index)?
            }
        };
    }
    Some(node)
}

fn member<'n>(members: &'n mut Vec<(String, Node)>, key: &str) -> &'n mut Node {
    let place = members.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
        members.push((key.to_owned(), Node::Value(b"null".to_vec())));
        members.len() - 1
    });
    &mut members[place].1
}

fn write_members(members: &[(String, Node)], out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    for (key, node) in members {
        write_node(node, object.key(key));
    }
    object.close();
}

fn write_node(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Value(value) => out.extend_from_slice(value),
        Node::Text(text, _) => write_escaped(out, &Text::escaped(text)),
        Node::Object(members) => write_members(members, out),
        Node::Array(elements) => {
            let mut array = Array::open(out);
            elements.iter().for_each(|element| write_node(element, array.element()));
            array.close();
        }
    }
}

/// The steps of a path such as `$.a[0]['b c']`. `None` when it is none, or leads nowhere.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        (step, rest) = if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            (Step::Key(name[..end].to_owned()), &name[end..])
        } else {
            bracket(rest.strip_prefix('[')?)?
        };
        if steps.len() == MAX_DEPTH {
            return None;
        }
        steps.push(step);
    }
    Some(steps).filter(|steps| !steps.is_empty())
}

fn bracket(inside: &str) -> Option<(Step, &str)> {
    for quote in ['\'', '"'] {
        if let Some(name) = inside.strip_prefix(quote) {
            let end = name.find(quote)?;
            return Some((Step::Key(name[..end].to_owned()), name[end + 1..].strip_prefix(']')?));
        }
    }
    let (index, rest) = inside.split_once(']')?;
    Some((Step::Index(index.parse().ok()?), rest))
}

/// The text of a JSON string that holds this JSON.
pub(super) fn quoted(json: &[u8]) -> Text<'static> {
    escape(&String::from_utf8_lossy(json)).into_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn check(pieces: &[&str], expected: Result<&str, &str>) {
        let mut fragments = Fragments::default();
        let added: Result<(), Malformed> = pieces.iter().try_for_each(|piece| fragments.add(&mut Reader::new(piece.as_bytes())));
        let json = String::from_utf8(fragments.json()).unwrap();
        assert_eq!(
            added.map(|()| json).map_err(|fault| fault.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{pieces:?}"
        );
    }

    #[test]
    fn pieces_come_together() {
        check(&[], Ok("{}"));
        check(
            &[
                r#"[{"jsonPath":"$.city","stringValue":"New ","willContinue":true}]"#,
                r#"[{"jsonPath":"$.city","stringValue":"Delhi\n","willContinue":true},{"jsonPath":"$.city","stringValue":""}]"#,
                r#"[{"jsonPath":"$.days[0].n","numberValue":1.5},{"jsonPath":"$.days[1]['a b']","boolValue":true},{"jsonPath":"$.x","nullValue":"NULL_VALUE"}]"#,
            ],
            Ok(r#"{"city":"New Delhi\n","days":[{"n":1.5},{"a b":true}],"x":null}"#),
        );
        check(&[r#"[{"jsonPath":"$.a","stringValue":"x"},{"jsonPath":"$.a","stringValue":"y"}]"#], Ok(r#"{"a":"y"}"#));
    }

    #[test]
    fn pieces_that_fit_nowhere_are_refused() {
        check(&[r#"[{"jsonPath":"city","stringValue":"x"}]"#], Err(r#""[0].jsonPath" must be a path such as $.a[0]"#));
        check(&[r#"[{"jsonPath":"$.a[1]","stringValue":"x"}]"#], Err(r#""[0]" does not fit the pieces before it"#));
        check(
            &[r#"[{"jsonPath":"$.a","stringValue":"x"},{"jsonPath":"$.a.b","stringValue":"x"}]"#],
            Err(r#""[1]" does not fit the pieces before it"#),
        );
        check(&[r#"[{"stringValue":"x"}]"#], Err(r#""[0]" has no "jsonPath""#));
    }
}
