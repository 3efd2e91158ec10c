//! What a scan reports: where the wanted top-level members lie.

use core::num::NonZeroUsize;
use core::ops::Range;

use super::media::{Files, Media};
use super::walk::unescape;
use super::{Kind, Reason};

/// How many names one scan can look for.
pub const MAX_WANTED: usize = 64;

/// Where the wanted top-level members of a scanned object lie, in offsets of the concatenated text.
///
/// An index is a place in the list of names that the scanner was given.
#[derive(Clone, Debug, Default)]
pub struct Members {
    found: Vec<Found>,
    /// How many members the object has, wanted or not.
    count: usize,
    open: usize,
    close: usize,
    first_member: Option<usize>,
    last_value_end: Option<usize>,
    files: Files,
    has_tokens: bool,
}

/// One wanted member. No offset in it can be 0, where at best the `{` stands.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    index: u8,
    kind: Kind,
    /// Its place among all members.
    pub(crate) ordinal: usize,
    /// Key quote to value end.
    pub(crate) member: Range<usize>,
    value_start: usize,
    /// Where the value of the member before it ends.
    previous_end: Option<NonZeroUsize>,
    /// Where the key quote of the member behind it stands.
    next_start: Option<NonZeroUsize>,
}

impl Members {
    /// The range of the value, without white space around it.
    #[inline]
    #[must_use]
    pub fn value(&self, index: usize) -> Option<Range<usize>> {
        self.find(index).map(|found| found.value_start..found.member.end)
    }

    /// What the value is.
    #[inline]
    #[must_use]
    pub fn kind(&self, index: usize) -> Option<Kind> {
        self.find(index).map(|found| found.kind)
    }

    /// The range from the key's opening quote to the value's end.
    #[must_use]
    pub fn member(&self, index: usize) -> Option<Range<usize>> {
        self.find(index).map(|found| found.member.clone())
    }

    /// Where the key quote of the object's first member stands, wanted or not.
    #[must_use]
    pub fn first_member_at(&self) -> Option<usize> {
        self.first_member
    }

    /// Where the value of the object's last member ends, wanted or not.
    #[must_use]
    pub fn last_value_end(&self) -> Option<usize> {
        self.last_value_end
    }

    /// Where the object's `{` stands.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// Where the object's `}` stands.
    #[must_use]
    pub fn close(&self) -> usize {
        self.close
    }

    /// How many members the object has, wanted or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the object has no member at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All strings, at any depth, that hold a file in base64: an image, sound, a document. Strings below 4 KiB are not looked at.
    #[must_use]
    pub fn files(&self) -> Files {
        self.files
    }

    /// Whether a value that is a string, at any depth, begins as a sealed token does (see [`translate::seals`](crate::translate::seals)).
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.has_tokens
    }

    /// The wanted members that the object has, in the order of the text.
    pub(crate) fn found(&self) -> &[Found] {
        &self.found
    }

    pub(crate) fn find(&self, index: usize) -> Option<&Found> {
        self.found.iter().find(|found| found.index() == index)
    }
}

impl Found {
    pub(crate) fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// Where the value of the member before it ends.
    pub(crate) fn previous_end(&self) -> Option<usize> {
        self.previous_end.map(NonZeroUsize::get)
    }

    /// Where the key quote of the member behind it stands.
    pub(crate) fn next_start(&self) -> Option<usize> {
        self.next_start.map(NonZeroUsize::get)
    }
}

/// Fills [`Members`] as the scanner passes the events of the top level.
#[derive(Debug)]
pub(super) struct Recorder<'k> {
    wanted: Names<'k>,
    members: Members,
    /// One bit per wanted name.
    seen: u64,
    key_start: usize,
    /// The wanted member whose value is being read.
    current: Option<u8>,
}

impl<'k> Recorder<'k> {
    pub(super) fn new(names: &'k [&'k str]) -> Self {
        Self::with(Names::Own(Box::new(Wanted::new(names))))
    }

    pub(super) fn prepared(keys: &'k Keys) -> Self {
        Self::with(Names::Prepared(&keys.0))
    }

    fn with(wanted: Names<'k>) -> Self {
        let members = Members { found: Vec::with_capacity(wanted.get().names.len().min(8)), ..Members::default() };
        Self { wanted, members, seen: 0, key_start: 0, current: None }
    }

    /// The longest raw key that can decode to a wanted name: every byte may be a six-byte escape.
    pub(super) fn longest_raw_key(&self) -> usize {
        self.wanted.get().longest * 6
    }

    pub(super) fn opened(&mut self, offset: usize) {
        self.members.open = offset;
    }

    pub(super) fn closed(&mut self, offset: usize) {
        self.members.close = offset;
    }

    pub(super) fn key_started(&mut self, offset: usize) {
        self.key_start = offset;
        self.members.first_member.get_or_insert(offset);
        if let Some(last) = self.members.found.last_mut()
            && last.ordinal + 1 == self.members.count
        {
            last.next_start = NonZeroUsize::new(offset);
        }
    }

    /// `raw` is the key between its quotes. Fails when it is a wanted name for the second time, or in other letters.
    pub(super) fn key_ended(&mut self, raw: &[u8]) -> Result<(), Reason> {
        let Some(index) = self.wanted.get().find(raw)? else { return Ok(()) };
        if self.seen >> index & 1 == 1 {
            return Err(Reason::DuplicateKey(self.wanted.get().name(index)));
        }
        self.seen |= 1 << index;
        self.current = u8::try_from(index).ok();
        Ok(())
    }

    #[inline]
    pub(super) fn value_started(&mut self, offset: usize, kind: Kind) {
        let Some(index) = self.current else { return };
        self.members.found.push(Found {
            index,
            ordinal: self.members.count,
            kind,
            member: self.key_start..self.key_start,
            value_start: offset,
            previous_end: self.members.last_value_end.and_then(NonZeroUsize::new),
            next_start: None,
        });
    }

    #[inline]
    pub(super) fn value_ended(&mut self, offset: usize) {
        if self.current.take().is_some()
            && let Some(found) = self.members.found.last_mut()
        {
            found.member.end = offset;
        }
        self.members.last_value_end = Some(offset);
        self.members.count += 1;
    }

    pub(super) fn finish(self, media: &Media) -> Members {
        Members { files: media.files(), has_tokens: media.has_tokens(), ..self.members }
    }
}

/// The names a kind of text is always asked for, laid out once for all its scanners.
#[derive(Debug)]
pub struct Keys(Wanted<'static>);

impl Keys {
    /// See [`Scanner::new`](super::Scanner::new) for what `names` may be.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Self {
        Self(Wanted::new(names))
    }
}

/// Where a scanner's names are laid out.
#[derive(Debug)]
enum Names<'k> {
    Own(Box<Wanted<'k>>),
    Prepared(&'k Wanted<'static>),
}

impl<'k> Names<'k> {
    #[inline]
    fn get(&self) -> &Wanted<'k> {
        match self {
            Names::Own(wanted) => wanted,
            Names::Prepared(wanted) => wanted,
        }
    }
}

/// The wanted names, in slots by length and first letter.
#[derive(Debug)]
struct Wanted<'k> {
    names: &'k [&'k str],
    /// One bit per name.
    slots: [u64; SLOTS],
    longest: usize,
}

const SLOTS: usize = 32;

impl<'k> Wanted<'k> {
    fn new(names: &'k [&'k str]) -> Self {
        debug_assert!(names.len() <= MAX_WANTED, "only the first 64 names are looked for");
        debug_assert!(
            !names.iter().any(|name| name.contains('\\')),
            "raw keys are compared with names, where a backslash begins an escape"
        );
        let names = &names[..names.len().min(MAX_WANTED)];
        let mut slots = [0; SLOTS];
        let mut longest = 0;
        for (index, name) in names.iter().enumerate() {
            slots[slot(name.as_bytes())] |= 1 << index;
            longest = longest.max(name.len());
        }
        Self { names, slots, longest }
    }

    fn name(&self, index: usize) -> String {
        self.names.get(index).copied().unwrap_or_default().to_owned()
    }

    /// Which name the raw key means, if any.
    #[inline]
    fn find(&self, raw: &[u8]) -> Result<Option<usize>, Reason> {
        match self.find_by(raw, |name| name == raw) {
            Some(index) => Ok(Some(index)),
            None => self.find_otherwise(raw),
        }
    }

    /// `find` for a key that is not written as a wanted name.
    fn find_otherwise(&self, raw: &[u8]) -> Result<Option<usize>, Reason> {
        if raw.len() > self.longest * 6 {
            return Ok(None);
        }
        if raw.is_ascii() && !raw.contains(&b'\\') {
            return self.refuse_other_case(raw);
        }
        // Bytes that are no UTF-8 are refused by the scan itself; such a key means nothing.
        let Some(decoded) = unescape(raw) else { return Ok(None) };
        if let Some(index) = self.names.iter().position(|name| *name == decoded) {
            return Ok(Some(index));
        }
        // The two letters outside ASCII whose simple folding is an ASCII letter.
        let folded = decoded.replace('\u{17f}', "s").replace('\u{212a}', "k");
        self.refuse_other_case(folded.as_bytes())
    }

    fn refuse_other_case(&self, key: &[u8]) -> Result<Option<usize>, Reason> {
        match self.find_by(key, |name| name.eq_ignore_ascii_case(key)) {
            Some(index) => Err(Reason::KeyCase(self.name(index))),
            None => Ok(None),
        }
    }

    /// The first name in the slot of `key` that is `same`.
    #[inline(always)]
    fn find_by(&self, key: &[u8], same: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let mut candidates = self.slots[slot(key)];
        while candidates != 0 {
            let index = candidates.trailing_zeros() as usize;
            if self.names.get(index).is_some_and(|name| same(name.as_bytes())) {
                return Some(index);
            }
            candidates &= candidates - 1;
        }
        None
    }
}

/// The slot of a name. A capital and its small letter differ by 32, so all spellings of a name share a slot.
#[inline(always)]
fn slot(name: &[u8]) -> usize {
    (name.len() + usize::from(name.first().copied().unwrap_or(0))) % SLOTS
}
