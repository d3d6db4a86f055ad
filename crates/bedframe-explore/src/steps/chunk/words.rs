//! What a CPU does next, in words.

use std::fmt;

use super::{Call, Pc, SIZE, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {}: ", self.cpu)?;
        match self.call {
            Some(Call::Take) => f.write_str("begins to take a frame"),
            Some(Call::Free(frame)) => write!(f, "begins to free frame {frame}"),
            Some(Call::TakeWhole) => f.write_str("begins to take the whole chunk"),
            Some(Call::Offline(frame)) => write!(f, "begins to withdraw frame {frame}"),
            Some(Call::Online(frame)) => write!(f, "begins to let frame {frame} come back"),
            None => f.write_str(&self.about.words()),
        }
    }
}

impl Pc {
    fn words(self) -> String {
        match self {
            Pc::Idle => "does nothing".into(),
            Pc::TakeEntry | Pc::FreeEntry { .. } => "reads the entry".into(),
            Pc::TakeBreak { word } => format!("Busy, writes word {word} of the plane"),
            Pc::TakeLoad { word } => format!("reads word {word}"),
            Pc::TakeSwap { word, .. } => format!("takes its frame out of word {word}"),
            Pc::ClearEntry { .. } => "has emptied the word, reads the entry".into(),
            Pc::ClearLoad { frame, .. } => format!("looks whether word {} is empty", frame / SIZE),
            Pc::ClearSwap { frame, .. } => format!("clears the hint of word {}", frame / SIZE),
            Pc::TakeVet { .. } => "reads the entry again behind its step".into(),
            Pc::TakeVetHeld { frame } => format!("Busy, looks at frame {frame}'s record"),
            Pc::WholeSwap => "takes the chunk by its entry".into(),
            Pc::FreeSpread { word, .. } => format!("Busy, writes word {word} of the plane"),
            Pc::FreeLoad { frame } => format!("reads word {}", frame / SIZE),
            Pc::FreeBusyHeld { frame } => {
                format!("Busy, puts frame {frame} into its word if it is not there")
            }
            Pc::FreeSwap { frame, .. } => format!("puts frame {frame} into its word"),
            Pc::FreeBusy { .. }
            | Pc::FreeCold { .. }
            | Pc::MergeBusy
            | Pc::OfflineBusy { .. }
            | Pc::OnlineBusy { .. } => "becomes the holder of Busy".into(),
            Pc::FreeBusyEnd { frame, .. } => {
                format!("sets the hint of word {}, and ends Busy", frame / SIZE)
            }
            Pc::FreeColdHeld { frame } => {
                format!("frees frame {frame} as its record says, ends Busy")
            }
            Pc::FreeReview { .. } => "reads the entry again behind its step".into(),
            Pc::FreeReviewHeld { frame, .. } => format!("Busy, looks at frame {frame}'s record"),
            Pc::Ripe => "looks whether every word is full".into(),
            Pc::MergeClaim { word } => format!("claims word {word} for the whole chunk"),
            Pc::MergeBack { word } => format!("gives word {word} back"),
            Pc::OfflineHeld { frame } => format!("reads the plane, notes frame {frame}'s record"),
            Pc::OfflineEnd => "says in the entry that there is a record, ends Busy".into(),
            Pc::OnlineHeld { frame } => format!("takes frame {frame}'s record away, ends Busy"),
        }
    }
}
