//! All threads at the same few words: small blocks, taken and freed as fast as can be.

use std::collections::VecDeque;

use bedframe::{CpuId, NodeId, Order, Request};

use super::Turn;
use crate::ask::{Before, judge_refusal};
use crate::content;
use crate::found::Found;
use crate::held::Piece;
use crate::owners::NOBODY;

/// Blocks that a thread keeps for a while.
const KEPT: usize = 6;

impl Turn<'_> {
    /// Takes a block, and frees one of this thread's or another's. `kept` is what it has taken so.
    pub(crate) fn hammer(&mut self, kept: &mut VecDeque<Piece>) -> Result<(), Found> {
        if self.rng.u32(0..256) == 0 {
            // Two threads that are one CPU take from the same chunk.
            bedframe_hosted::set_cpu(CpuId(self.rng.u32(0..8) / 7));
            bedframe_hosted::set_node(NodeId(self.rng.u32(0..3)));
        }
        let order = [0, 0, 0, 0, 0, 1, 1, 2, 3, 6][self.rng.usize(0..10)];
        let request = Request::order(Order::new(order).unwrap_or(Order::ZERO));
        let before = Before::now(self.life);
        self.worker.counts.did("alloc, all at once");
        match self.life.memory.alloc(&request) {
            Ok(range) => {
                let tag = self.life.next_tag();
                self.life.owners.pass(range, NOBODY, tag)?;
                content::write(self.life.hosted(), range, tag);
                kept.push_back(Piece { range, tag });
            }
            Err(error) => {
                let name = judge_refusal(self.life, &request, error, before)?;
                self.worker.counts.refused(name);
            }
        }
        if kept.len() >= KEPT
            && self.rng.u32(0..4) == 0
            && let Some(piece) = kept.pop_front()
        {
            let other = self.rng.usize(0..self.life.inboxes.len());
            if let Err(piece) = self.life.inboxes[other].push(piece) {
                kept.push_back(piece);
            }
        }
        while kept.len() >= KEPT
            && let Some(piece) = kept.pop_front()
        {
            self.free_pieces("free, all at once", &[piece])?;
        }
        match self.life.inboxes[self.worker.number].pop() {
            Some(piece) => self.free_pieces("free, all at once", &[piece]),
            None => Ok(()),
        }
    }
}
