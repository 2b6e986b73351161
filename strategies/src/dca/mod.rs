//! The strategy `dca`: buy, average down, take profit or stop (contract §4).

mod capital;
mod definition;
mod ladder;
mod machine;
mod plan;
mod preview;

pub(crate) use capital::stakes;
pub use definition::DcaDefinition;
pub(crate) use definition::NewDca;
pub use machine::Dca;
pub use plan::DcaPlan;
pub(crate) use preview::preview;
