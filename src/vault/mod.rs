//! The vault: the root key, what hangs on it, and secrets sealed under it.
//!
//! ```text
//!   root key R ── key file, credential of systemd, or a file under a passphrase (`source`, `passphrase`)
//!     ├─ KEK ── wraps the data key of each version of each credential (`envelope`)
//!     └─ service root S ── wraps the appliance's own keys: audit, token, state, digest (`service`)
//! ```
//!
//! Two decisions shape it:
//!
//! * **The appliance's own keys are random and wrapped, not derived.** A rotation of R would
//!   otherwise break the audit chain at its first row and forget every token. A rotation wraps
//!   them anew, and they live as long as the file.
//! * **A sealed vault closes the credentials and nothing else.** Under a passphrase the key file
//!   holds R encrypted and S in the clear; S derives from R and R is not to be had from it. So the
//!   appliance starts by itself, with audit, tokens and sessions at work, and credentials answer
//!   `sealed` until a person unlocks them with `hearth key unlock`. Who steals such a file and the
//!   database can forge audit rows, as the thief of a plain key file could, but opens no secret.
//!
//! The vault knows no SQL and the store no secret: what passes between them is [`Sealed`].
//! Memory that held keys or secrets is wiped; buffers of the network and of parsers are not, so
//! a process image must be kept out of core files and swap (`cli/serve.rs`).

pub mod envelope;
pub mod kit;
pub mod padding;
pub mod passphrase;
pub mod policy;
pub mod private;
pub mod ring;
pub mod root;
pub mod service;
pub mod source;

pub use envelope::{Binding, Sealed};
pub use policy::{Kind, Policy, Use};
pub use ring::Vault;
