//! Platforms that are a hosted machine but for what they do themselves.

/// Writes those methods of a [`Platform`](bedframe::Platform) that a machine of one's own leaves to the
/// [`HostedPlatform`](crate::HostedPlatform) in its field. Whoever writes the others keeps the contract.
///
/// ```
/// use bedframe::{Mfn, Platform};
/// use bedframe_hosted::{HostedPlatform, leave_to_hosted};
///
/// struct Impatient {
///     hosted: HostedPlatform,
/// }
///
/// // SAFETY: all is the hosted machine's but what is done while somebody waits.
/// unsafe impl Platform for Impatient {
///     leave_to_hosted!(hosted: frame_ptr, frame_of, cpu, mask_interrupts, restore_interrupts);
///
///     fn pause(&self) {
///         panic!("nobody is to wait");
///     }
/// }
/// ```
#[macro_export]
macro_rules! leave_to_hosted {
    ($field:tt: $($method:ident),+ $(,)?) => { $($crate::leave_to_hosted!(@ $field $method);)+ };
    (@ $field:tt frame_ptr) => {
        fn frame_ptr(&self, frame: ::bedframe::Mfn) -> *mut u8 {
            self.$field.frame_ptr(frame)
        }
    };
    (@ $field:tt frame_of) => {
        fn frame_of(&self, address: *const u8) -> Option<::bedframe::Mfn> {
            self.$field.frame_of(address)
        }
    };
    (@ $field:tt cpu) => {
        fn cpu(&self) -> ::bedframe::CpuId {
            self.$field.cpu()
        }
    };
    (@ $field:tt node) => {
        fn node(&self) -> ::bedframe::NodeId {
            self.$field.node()
        }
    };
    (@ $field:tt distance) => {
        fn distance(&self, from: ::bedframe::NodeId, to: ::bedframe::NodeId) -> u32 {
            self.$field.distance(from, to)
        }
    };
    (@ $field:tt mask_interrupts) => {
        fn mask_interrupts(&self) -> ::bedframe::InterruptMask {
            self.$field.mask_interrupts()
        }
    };
    (@ $field:tt restore_interrupts) => {
        fn restore_interrupts(&self, mask: ::bedframe::InterruptMask) {
            self.$field.restore_interrupts(mask);
        }
    };
    (@ $field:tt pause) => {
        fn pause(&self) {
            self.$field.pause();
        }
    };
    (@ $field:tt defers_flushes) => {
        fn defers_flushes(&self) -> bool {
            self.$field.defers_flushes()
        }
    };
    (@ $field:tt misuse) => {
        fn misuse(&self, error: &::bedframe::FreeError) {
            self.$field.misuse(error);
        }
    };
}
