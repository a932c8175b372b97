//! Signs the zones that are ours to sign.
//!
//! ```text
//!  zone as it stands in its file, or came ─► sign ◄─ keys, the version that was served before
//!                                             │
//!                                             ▼
//!                                   version that is served
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`content`] | what of a zone is signed, and what says that nothing else is there |
//! | [`sign`] | the signed version of a zone: |
//! | `whole` | of all names |
//! | `step` | of what differs from the version before |
//! | `signatures` | one name's |
//! | `digest` | the digest of the whole (ZONEMD) |
//! | [`workers`] | signatures, made on all cores |
//! | [`kept`] | the signed version over a restart |
//! | [`signer`] | one zone's keys and versions, from file to file |
//! | [`parent`] | asks a zone's parent for its DS |
//! | `configured` | from the configuration to all of them |
//! | [`task`] | what happens by the clock |

mod configured;
pub mod content;
mod digest;
pub mod kept;
pub mod parent;
pub mod sign;
mod signatures;
pub mod signer;
mod step;
pub mod task;
mod whole;
mod workers;

pub(crate) use configured::Configured;
pub use configured::SigningSetupError;
pub use parent::{AskParent, ParentServers};
pub use sign::{Inputs, SignError, Signed, sign};
pub use signer::{Settings, Shown, Signer, SignerError, Status, Version};
pub use task::Keeper;
