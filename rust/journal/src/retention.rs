//! Which segments may be freed.
//!
//! A segment is freed when SQL has committed past its end, every reservation in it has its terminal, and SQL has committed past
//! those terminals too. A terminal must not disappear before its reservation, else a start in between would take the reservation for
//! an orphan. So a living chain is freed in order, and earlier epochs one after the other, each as a whole.

use crate::Cursor;
use crate::segment::{ChainId, SegmentId};
use fairlead_ir::GenerationId;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// How far SQL has committed, per chain: segment and offset.
#[derive(Default)]
pub(crate) struct Applied(BTreeMap<ChainId, (u64, u64)>);

impl Applied {
    /// Takes over what is further than before.
    pub(crate) fn advance(&mut self, cursors: &[Cursor]) {
        for cursor in cursors {
            let place = self.0.entry(ChainId::from(cursor)).or_default();
            *place = (*place).max((cursor.segment, cursor.offset));
        }
    }

    /// Forgets chains of epochs before `epoch`.
    pub(crate) fn forget_before(&mut self, epoch: u64) {
        self.0.retain(|chain, _| chain.epoch >= epoch);
    }

    /// How far SQL has committed inside this segment, where its place is there.
    pub(crate) fn offset_in(&self, id: SegmentId) -> Option<u64> {
        self.0.get(&id.chain).filter(|(segment, _)| *segment == id.number).map(|(_, offset)| *offset)
    }

    pub(crate) fn covers(&self, cursor: &Cursor) -> bool {
        self.0.get(&ChainId::from(cursor)).is_some_and(|place| *place >= (cursor.segment, cursor.offset))
    }
}

/// A segment on disk and what it waits for.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) id: SegmentId,
    /// Size of its file.
    pub(crate) bytes: u64,
    /// End of its last record; `None` while it is written.
    pub(crate) end: Option<u64>,
    /// Reservations in it without a terminal.
    pub(crate) open: u64,
    /// Terminals elsewhere of reservations in it, the last one per chain.
    pub(crate) until: Vec<Cursor>,
    pub(crate) damaged: bool,
}

impl Held {
    pub(crate) fn new(id: SegmentId, bytes: u64) -> Held {
        Held { id, bytes, end: None, open: 0, until: Vec::new(), damaged: false }
    }

    /// Whether SQL has all of it, whatever its reservations wait for.
    fn is_applied(&self, applied: &Applied) -> bool {
        self.end.is_some_and(|end| applied.covers(&self.id.chain.cursor(self.id.number, end)))
            && self.until.iter().all(|cursor| applied.covers(cursor))
    }

    fn may_go(&self, applied: &Applied) -> bool {
        self.open == 0 && self.is_applied(applied)
    }

    fn wait_until(&mut self, at: Cursor) {
        match self.until.iter_mut().find(|cursor| ChainId::from(&**cursor) == ChainId::from(&at)) {
            Some(cursor) => *cursor = at.max(*cursor),
            None => self.until.push(at),
        }
    }
}

/// Segments of one chain, or of all chains of earlier epochs, in order of age, with their open reservations.
#[derive(Default)]
pub(crate) struct Holdings {
    segments: VecDeque<Held>,
    open: HashMap<GenerationId, SegmentId, foldhash::fast::RandomState>,
}

impl Holdings {
    /// Appends a segment, younger than all before.
    pub(crate) fn add(&mut self, held: Held) {
        self.segments.push_back(held);
    }

    /// The youngest segment ends at `end`.
    pub(crate) fn seal(&mut self, end: u64) {
        if let Some(held) = self.segments.back_mut() {
            held.end = Some(end);
        }
    }

    /// A reservation stands in `segment`; one of the same generation further back no longer counts.
    pub(crate) fn reserved(&mut self, generation: GenerationId, segment: SegmentId) {
        if let Some(before) = self.open.insert(generation, segment)
            && let Some(held) = self.held(before)
        {
            held.open = held.open.saturating_sub(1);
        }
        if let Some(held) = self.held(segment) {
            held.open += 1;
        }
    }

    /// The generation's terminal ends at `at`. False when its reservation is not here.
    pub(crate) fn settled(&mut self, generation: GenerationId, at: Cursor) -> bool {
        let Some(segment) = self.open.remove(&generation) else { return false };
        if let Some(held) = self.held(segment) {
            held.open = held.open.saturating_sub(1);
            if (ChainId::from(&at), at.segment) != (segment.chain, segment.number) {
                held.wait_until(at);
            }
        }
        true
    }

    /// Whether the generation is open and its reservation stands in `segment`.
    pub(crate) fn is_open_in(&self, generation: GenerationId, segment: SegmentId) -> bool {
        self.open.get(&generation) == Some(&segment)
    }

    /// Open reservations.
    pub(crate) fn open_count(&self) -> u64 {
        self.open.len() as u64
    }

    /// The oldest segment and its open generations, when nothing but these keeps it and `behind` younger ones exist.
    pub(crate) fn straggler(&self, applied: &Applied, behind: usize) -> Option<(SegmentId, Vec<GenerationId>)> {
        let held = self.segments.front().filter(|held| self.segments.len() > behind && held.open > 0 && held.is_applied(applied))?;
        let open = self.open.iter().filter(|(_, segment)| **segment == held.id).map(|(generation, _)| *generation).collect();
        Some((held.id, open))
    }

    /// Takes out what may be freed of one living chain: from its beginning.
    pub(crate) fn release(&mut self, applied: &Applied) -> Vec<Held> {
        let ready = self.segments.iter().take_while(|held| held.may_go(applied)).count();
        self.segments.drain(..ready).collect()
    }

    /// Takes out what may be freed of earlier epochs: whole ones, from the oldest.
    pub(crate) fn release_epochs(&mut self, applied: &Applied) -> Vec<Held> {
        let mut freed = Vec::new();
        while let Some(epoch) = self.segments.front().map(|held| held.id.chain.epoch) {
            let end = self.segments.partition_point(|held| held.id.chain.epoch == epoch);
            if !self.segments.iter().take(end).all(|held| held.may_go(applied)) {
                break;
            }
            freed.extend(self.segments.drain(..end));
        }
        freed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The end of every chain here: its last segment with records, else its first.
    pub(crate) fn ends(&self) -> Vec<Cursor> {
        let mut ends: BTreeMap<ChainId, Cursor> = BTreeMap::new();
        for held in &self.segments {
            let end = held.end.unwrap_or(crate::segment::HEADER_BYTES);
            let cursor = held.id.chain.cursor(held.id.number, end);
            let known = ends.entry(held.id.chain).or_insert(cursor);
            if end > crate::segment::HEADER_BYTES {
                *known = cursor;
            }
        }
        ends.into_values().collect()
    }

    /// Segments are few and the wanted one is nearly always the last.
    fn held(&mut self, id: SegmentId) -> Option<&mut Held> {
        self.segments.iter_mut().rev().find(|held| held.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, worker: u16, number: u64) -> SegmentId {
        SegmentId { chain: ChainId { epoch, node: 0, worker }, number }
    }

    fn holdings(segments: &[SegmentId]) -> Holdings {
        let mut holdings = Holdings::default();
        for segment in segments {
            holdings.add(Held { end: Some(100), ..Held::new(*segment, 1000) });
        }
        holdings
    }

    fn place(applied: &[(SegmentId, u64)]) -> Applied {
        let mut place = Applied::default();
        place.advance(&applied.iter().map(|(id, offset)| id.chain.cursor(id.number, *offset)).collect::<Vec<_>>());
        place
    }

    fn ids(freed: Vec<Held>) -> Vec<SegmentId> {
        freed.into_iter().map(|held| held.id).collect()
    }

    fn check(holdings: &mut Holdings, applied: &[(SegmentId, u64)], freed: &[SegmentId]) {
        assert_eq!(ids(holdings.release(&place(applied))), freed);
    }

    #[test]
    fn a_segment_is_freed_past_its_end_only() {
        let all = [id(1, 0, 0), id(1, 0, 1)];
        check(&mut holdings(&all), &[], &[]);
        check(&mut holdings(&all), &[(all[0], 99)], &[]);
        check(&mut holdings(&all), &[(all[0], 100)], &all[..1]);
        check(&mut holdings(&all), &[(all[1], 100)], &all);
        let mut writing = holdings(&all[..1]);
        writing.add(Held::new(all[1], 1000));
        check(&mut writing, &[(all[1], 1000)], &all[..1]);
    }

    #[test]
    fn an_open_reservation_keeps_its_segment_and_those_behind() {
        let all = [id(1, 0, 0), id(1, 0, 1), id(1, 0, 2)];
        let mut holdings = holdings(&all);
        holdings.reserved(GenerationId(9), all[1]);
        check(&mut holdings, &[(all[2], 100)], &all[..1]);
        assert!(holdings.settled(GenerationId(9), all[2].chain.cursor(2, 100)));
        assert!(!holdings.settled(GenerationId(9), all[2].chain.cursor(2, 100)));
        check(&mut holdings, &[(all[2], 99)], &[]);
        check(&mut holdings, &[(all[2], 100)], &all[1..]);
    }

    #[test]
    fn a_terminal_in_another_chain_is_waited_for() {
        let mut holdings = holdings(&[id(1, 0, 0)]);
        holdings.reserved(GenerationId(9), id(1, 0, 0));
        holdings.settled(GenerationId(9), id(2, 5, 0).chain.cursor(0, 70));
        check(&mut holdings, &[(id(1, 0, 0), 100)], &[]);
        check(&mut holdings, &[(id(1, 0, 0), 100), (id(2, 5, 0), 70)], &[id(1, 0, 0)]);
    }

    #[test]
    fn earlier_epochs_go_whole_and_in_order() {
        let all = [id(1, 0, 0), id(1, 1, 0), id(2, 0, 0), id(2, 1, 0), id(3, 0, 0)];
        for (missing, freed) in [(0, &all[..0]), (1, &all[..0]), (2, &all[..2]), (3, &all[..2]), (4, &all[..4])] {
            let applied: Vec<_> = all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, id)| (*id, 100)).collect();
            assert_eq!(ids(holdings(&all).release_epochs(&place(&applied))), freed, "without {missing}");
        }
        assert_eq!(ids(holdings(&all).release_epochs(&place(&all.map(|id| (id, 100))))), all);
    }

    #[test]
    fn a_reservation_written_again_counts_once() {
        let all = [id(1, 0, 0), id(1, 0, 1)];
        let mut holdings = holdings(&all);
        holdings.reserved(GenerationId(9), all[0]);
        holdings.reserved(GenerationId(9), all[1]);
        check(&mut holdings, &[(all[1], 100)], &all[..1]);
        assert!(!holdings.is_open_in(GenerationId(9), all[0]) && holdings.is_open_in(GenerationId(9), all[1]));
        holdings.settled(GenerationId(9), all[1].chain.cursor(1, 90));
        check(&mut holdings, &[(all[1], 100)], &all[1..]);
    }
}
