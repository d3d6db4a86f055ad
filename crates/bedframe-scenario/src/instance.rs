//! Instances of Bedframe that take over from one another on one machine.

use std::sync::{OnceLock, PoisonError, RwLock};

use bedframe::Memory;
use bedframe_hosted::HostedPlatform;

/// An instance, and the one behind it. None goes before the scenario ends.
pub(crate) struct Instance {
    memory: Memory<HostedPlatform>,
    next: OnceLock<Box<Instance>>,
}

impl Instance {
    pub(crate) const fn new(memory: Memory<HostedPlatform>) -> Self {
        Self { memory, next: OnceLock::new() }
    }
}

/// The instance that is in charge.
pub(crate) struct InCharge<'m>(RwLock<&'m Instance>);

impl<'m> InCharge<'m> {
    pub(crate) const fn new(first: &'m Instance) -> Self {
        Self(RwLock::new(first))
    }

    pub(crate) fn memory(&self) -> &'m Memory<HostedPlatform> {
        &self.0.read().unwrap_or_else(PoisonError::into_inner).memory
    }

    /// From now on another one is.
    pub(crate) fn succeed(&self, memory: Memory<HostedPlatform>) {
        let mut now = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = *now;
        *now = before.next.get_or_init(|| Box::new(Instance::new(memory)));
    }
}
