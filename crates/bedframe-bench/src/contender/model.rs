//! The executable specification of Bedframe, behind a spin lock.

use bedframe::{FrameRange, Mfn, NodeId, Order, Request};
use bedframe_model::World;
use spin::Mutex;

use super::{Contender, Cpu, FEW_FRAMES, Machine, Nature};
use crate::trouble::Trouble;

const FIRST: u64 = 1 << 20;

/// The model: written to be read, not to be fast.
pub struct Model(Mutex<World>);

impl Model {
    fn boot(machine: Machine) -> Result<Self, String> {
        let all = FrameRange::from_len(Mfn::new(FIRST), machine.frames);
        let mut world = World::default();
        world
            .add_ram(all.unwrap_or(FrameRange::EMPTY), NodeId(0))
            .map_err(|error| error.to_string())?;
        world.start(&[]).map_err(|error| error.to_string())?;
        Ok(Self(Mutex::new(world)))
    }
}

impl Contender for Model {
    const NAME: &'static str = "model";
    const NATURE: Nature = Nature {
        about: "Bedframe's executable specification behind a spin lock; checks all; 64 MiB",
        shares: true,
        hides: false,
        orders: true,
        most_frames: FEW_FRAMES,
    };

    type Cpu<'a> = &'a Mutex<World>;

    fn new(machine: Machine) -> Result<Self, Trouble> {
        Self::boot(machine).map_err(Trouble::Host)
    }

    fn cpu(&self, _: usize) -> &Mutex<World> {
        &self.0
    }

    fn first_frame(&self) -> u32 {
        FIRST as u32
    }

    fn check(&self, _: u64, _: Option<u64>) -> Result<(), String> {
        self.0.lock().validate().map_err(|fault| format!("validate: {fault}"))
    }
}

impl Cpu for &Mutex<World> {
    #[inline(always)]
    fn alloc(&mut self, order: u8) -> Option<u32> {
        let request = Request::order(Order::new(order)?);
        let range = self.lock().alloc(&request).ok()?;
        Some(range.start().get() as u32)
    }

    #[inline(always)]
    fn free(&mut self, frame: u32, order: u8) -> bool {
        match FrameRange::from_len(Mfn::new(u64::from(frame)), 1 << order) {
            Some(range) => self.lock().free(range).is_ok(),
            None => false,
        }
    }
}
