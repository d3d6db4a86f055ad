//! What stands behind the keys of a scenario, each kind with its own way of being written.

mod amount;
mod check;
mod frames;
mod name;
mod refusal;

pub(crate) use amount::Amount;
pub(crate) use check::{Check, Reading};
pub(crate) use frames::{Frames, Literal, Ram};
pub(crate) use name::{NewDomain, NewMapping, NewMark, NewName, OldDomain, OldMapping};
pub(crate) use refusal::{ErrorName, ErrorNames, KNOWN, Refusal};
