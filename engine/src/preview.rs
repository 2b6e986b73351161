//! What a bot would do, before it is made.

use model::{AccountId, Price};
use strategies::{BotDefinition, Preview};

use crate::error::EngineError;
use crate::handle::{EngineHandle, unknown_pair};

impl EngineHandle {
    /// Works an account's definition out, if its base order were decided at `at` or, without it, at the pair's last price; with
    /// the price that was taken. Nothing is kept.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] as for making such a bot, but for stakes below the venue's minimum, which are warned of;
    /// [`EngineError::VenueSilent`] where the venue has to be asked and does not tell.
    pub async fn preview_bot(
        &self,
        account: AccountId,
        definition: &BotDefinition,
        at: Option<Price>,
    ) -> Result<(Preview, Price), EngineError> {
        self.owns_named(account, definition).await?;
        let exchange = definition.exchange;
        let silent = |what: &str| {
            EngineError::VenueSilent(format!("{exchange} does not tell {what} just now: try again"))
        };
        let market = match self.market(&definition.pair).await {
            None => return Err(silent("what the pair is like")),
            Some(None) => return Err(unknown_pair(definition)),
            Some(Some(market)) => self.priced(account, definition, market).await.0,
        };
        let price = match at {
            Some(price) => price,
            None => self
                .price_now(&definition.pair)
                .await
                .ok_or_else(|| silent("the last price, or give a `price`"))?,
        };
        let mut preview = Preview::new(definition, &market, price)?;
        preview.warnings.extend(self.no_stop_can_rest(account, definition).await?);
        Ok((preview, price))
    }
}
