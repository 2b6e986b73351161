//! The strategies that there are. What each does lies in its own folder; this file is the one list of them.

use model::{Fault, OrderKind, Quote};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::dca::{DcaDefinition, NewDca};
use crate::definition::reader::Fields;

/// How a bot decides: one variant per strategy, each with the object of its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StrategyDefinition {
    /// Buy, average down, take profit or stop (contract §4).
    Dca(DcaDefinition),
}

/// How a bot decides.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Strategy {
    /// Buy, average down, take profit or stop.
    Dca,
}

/// The objects that a body may have, each named after its strategy.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its schema alone is used")]
pub(crate) struct NewObjects {
    /// What only the strategy `dca` has.
    dca: Option<NewDca>,
}

/// The objects that a bot is shown with: the one of its strategy.
#[derive(ToSchema)]
#[expect(dead_code, reason = "its schema alone is used")]
pub(crate) struct ShownObjects {
    /// What only the strategy `dca` has.
    #[schema(nullable = false)]
    dca: Option<DcaDefinition>,
}

impl StrategyDefinition {
    /// The names on the wire.
    pub const NAMES: [&'static str; 1] = ["dca"];

    /// The name on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Dca(_) => "dca",
        }
    }

    /// Parses the object of a strategy, which is one of [`Self::NAMES`]; `None` once a fault was found.
    pub(crate) fn parse(
        name: &str,
        object: Option<&Fields>,
        stake_amount: Option<Quote>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        match name {
            "dca" => DcaDefinition::parse(object, stake_amount, faults).map(Self::Dca),
            _ => None,
        }
    }

    /// How its entries are worked.
    pub const fn entries(&self) -> OrderKind {
        match self {
            Self::Dca(dca) => dca.order_type,
        }
    }

    /// The fields of a body that follow from others, and so go with those when a patch does not name them: `null` each,
    /// as JSON.
    pub fn following(&self, stake_amount: Quote) -> Option<&'static str> {
        match self {
            Self::Dca(dca) => dca.following(stake_amount),
        }
    }
}

/// The object alone, without the strategy's name.
impl Serialize for StrategyDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Dca(dca) => dca.serialize(serializer),
        }
    }
}
