//! Live hand-over, from one instance to the next on the same machine.

mod broken;
mod large;
mod life;
mod scattered;
mod scripts;
mod world;
