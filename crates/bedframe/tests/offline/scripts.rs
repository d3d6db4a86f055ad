//! Random scripts against a list of what each frame is.

use std::collections::BTreeMap;

use bedframe::{FrameRange, Mfn, OfflineError, Order, PageState, Request, Withdrawal};
use proptest::prelude::*;

use super::{FRAMES, machine};

#[derive(Clone, Debug)]
enum Step {
    Alloc(u8),
    Free(usize),
    Offline(u64),
    Break(u64),
    Online(u64),
    Refer(usize),
}

fn step() -> impl Strategy<Value = Step> {
    // Most frames near one another, so that they meet.
    let at = prop_oneof![900u64..1200, 2040u64..2600, 0..FRAMES];
    prop_oneof![
        4 => (0u8..11).prop_map(Step::Alloc),
        4 => any::<usize>().prop_map(Step::Free),
        3 => at.clone().prop_map(Step::Offline),
        1 => at.clone().prop_map(Step::Break),
        2 => at.prop_map(Step::Online),
        1 => any::<usize>().prop_map(Step::Refer),
    ]
}

/// What a frame becomes when it is withdrawn; `None` where that is refused.
fn withdrawn(state: PageState, broken: bool) -> Option<PageState> {
    use PageState::*;
    Some(match (state, broken) {
        (Free, false) => Offlined,
        (Free | Offlined, true) => Broken,
        (InUse | Uninitialised, false) => Offlining,
        (InUse | Uninitialised | Offlining, true) => BrokenOfflining,
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each frame is what its history makes it, the heap holds nothing back, and the sums are right.
    #[test]
    fn states_follow(steps in proptest::collection::vec(step(), 1..120)) {
        let memory = machine();
        let all = || (0..FRAMES).map(Mfn::new);
        let mut states: BTreeMap<Mfn, PageState> =
            all().map(|frame| (frame, memory.state(frame))).collect();
        let mut uninitialised: BTreeMap<Mfn, bool> =
            states.iter().map(|(frame, s)| (*frame, *s == PageState::Uninitialised)).collect();
        let mut held: Vec<FrameRange> = vec![FrameRange::from_len(Mfn::new(super::EARLY), 100).unwrap()];
        for step in steps {
            match step {
                Step::Alloc(order) => {
                    if let Ok(found) = memory.alloc(&Request::order(Order::new(order).unwrap())) {
                        for frame in found.iter() {
                            prop_assert_eq!(states.insert(frame, PageState::InUse), Some(PageState::Free));
                        }
                        held.push(found);
                    }
                }
                Step::Free(which) if !held.is_empty() => {
                    let range = held.swap_remove(which % held.len());
                    memory.free(range).unwrap();
                    for frame in range.iter() {
                        let next = match states[&frame] {
                            PageState::Offlining => PageState::Offlined,
                            PageState::BrokenOfflining => PageState::Broken,
                            _ => PageState::Free,
                        };
                        states.insert(frame, next);
                        uninitialised.insert(frame, false);
                    }
                }
                Step::Offline(at) | Step::Break(at) => {
                    let broken = matches!(step, Step::Break(_));
                    let frame = Mfn::new(at);
                    let state = states[&frame];
                    let result =
                        if broken { memory.mark_broken(frame) } else { memory.offline(frame) };
                    match withdrawn(state, broken) {
                        None => prop_assert_eq!(result, Err(OfflineError::State { frame, state })),
                        Some(next) => {
                            let done = matches!(next, PageState::Offlined | PageState::Broken);
                            let told = if done { Withdrawal::Done } else { Withdrawal::Pending };
                            prop_assert_eq!(result, Ok(told));
                            states.insert(frame, next);
                        }
                    }
                }
                Step::Online(at) => {
                    let frame = Mfn::new(at);
                    let state = states[&frame];
                    let next = match state {
                        PageState::Offlining if uninitialised[&frame] => PageState::Uninitialised,
                        PageState::Offlining => PageState::InUse,
                        PageState::Offlined => PageState::Free,
                        _ => {
                            let refused = Err(OfflineError::State { frame, state });
                            prop_assert_eq!(memory.online(frame), refused);
                            continue;
                        }
                    };
                    prop_assert_eq!(memory.online(frame), Ok(()));
                    states.insert(frame, next);
                }
                Step::Refer(which) if !held.is_empty() => {
                    // A reference comes and goes, whatever the frame's state.
                    let frame = held[which % held.len()].start();
                    if states[&frame] != PageState::Uninitialised {
                        memory.reference(frame).unwrap();
                        memory.unreference(frame).unwrap();
                    }
                }
                Step::Free(_) | Step::Refer(_) => {}
            }
            memory.validate().unwrap();
        }
        for frame in all() {
            let state = memory.state(frame);
            prop_assert_eq!(state, states[&frame], "{}", frame);
        }
    }
}
