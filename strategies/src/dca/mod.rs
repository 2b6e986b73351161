//! The strategy `dca`: buy, average down, take profit or stop (contract §4).

mod capital;
mod definition;
mod ladder;
mod machine;
mod plan;
mod preview;

pub use capital::{ladder_funds, ladder_stake};
pub use definition::DcaDefinition;
pub(crate) use definition::NewDca;
pub use machine::Dca;
pub(crate) use machine::Phase;
pub(crate) use plan::MAX_LADDER;
pub use plan::Plan;
pub use preview::{Preview, PreviewedEntry};
