//! Where the fields of MDP 3.0 are: made from `mdp3.xml` by `feed/tests/mdp3_schema.rs`.

/// Where in its block a field starts, and since which version of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub offset: u16,
    pub since: u8,
}

/// The fields of a block. One that it lacks is behind the end of any.
#[rustfmt::skip]
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub aggressor_side: At,
    pub current_chunk: At,
    pub last_msg_seq_num_processed: At,
    pub market_depth: At,
    pub match_event_indicator: At,
    pub md_display_qty: At,
    pub md_entry_px: At,
    pub md_entry_size: At,
    pub md_entry_type: At,
    pub md_feed_type: At,
    pub md_order_priority: At,
    pub md_price_level: At,
    pub md_trade_entry_id: At,
    pub md_update_action: At,
    pub no_chunks: At,
    pub order_id: At,
    pub order_update_action: At,
    pub reference_id: At,
    pub rpt_seq: At,
    pub security_group: At,
    pub security_id: At,
    pub security_trading_status: At,
    pub symbol: At,
    pub transact_time: At,
    /// What one unit of a price is, in 1e-9.
    pub price_unit: i64,
}

/// A repeating group; a wide one has eight bytes before its entries, another three.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub is_wide: bool,
    pub fields: Fields,
}

/// One kind of message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Template {
    pub id: u16,
    pub block: Fields,
    pub groups: &'static [Group],
}

const NOWHERE: At = At {
    offset: u16::MAX,
    since: 0,
};

#[rustfmt::skip]
const NONE: Fields = Fields {
    aggressor_side: NOWHERE,
    current_chunk: NOWHERE,
    last_msg_seq_num_processed: NOWHERE,
    market_depth: NOWHERE,
    match_event_indicator: NOWHERE,
    md_display_qty: NOWHERE,
    md_entry_px: NOWHERE,
    md_entry_size: NOWHERE,
    md_entry_type: NOWHERE,
    md_feed_type: NOWHERE,
    md_order_priority: NOWHERE,
    md_price_level: NOWHERE,
    md_trade_entry_id: NOWHERE,
    md_update_action: NOWHERE,
    no_chunks: NOWHERE,
    order_id: NOWHERE,
    order_update_action: NOWHERE,
    reference_id: NOWHERE,
    rpt_seq: NOWHERE,
    security_group: NOWHERE,
    security_id: NOWHERE,
    security_trading_status: NOWHERE,
    symbol: NOWHERE,
    transact_time: NOWHERE,
    price_unit: 1,
};

/// By number.
#[rustfmt::skip]
pub(super) static TEMPLATES: [Template; 29] = [
    // ChannelReset
    Template { id: 4, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { ..NONE } },
    ] },
    // AdminHeartbeat
    Template { id: 12, block: Fields { ..NONE }, groups: &[
    ] },
    // AdminLogin
    Template { id: 15, block: Fields { ..NONE }, groups: &[
    ] },
    // AdminLogout
    Template { id: 16, block: Fields { ..NONE }, groups: &[
    ] },
    // MDInstrumentDefinitionFuture
    Template { id: 27, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
    // MDInstrumentDefinitionSpread
    Template { id: 29, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
    // SecurityStatus
    Template { id: 30, block: Fields { transact_time: At { offset: 0, since: 0 }, security_group: At { offset: 8, since: 0 }, security_id: At { offset: 20, since: 0 }, match_event_indicator: At { offset: 26, since: 0 }, security_trading_status: At { offset: 27, since: 0 }, ..NONE }, groups: &[
    ] },
    // MDIncrementalRefreshBook
    Template { id: 32, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, md_price_level: At { offset: 24, since: 0 }, md_update_action: At { offset: 25, since: 0 }, md_entry_type: At { offset: 26, since: 0 }, price_unit: 100, ..NONE } },
        // NoOrderIDEntries
        Group { is_wide: true, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_display_qty: At { offset: 16, since: 0 }, reference_id: At { offset: 20, since: 0 }, order_update_action: At { offset: 21, since: 0 }, ..NONE } },
    ] },
    // MDIncrementalRefreshDailyStatistics
    Template { id: 33, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, md_entry_type: At { offset: 24, since: 0 }, price_unit: 100, ..NONE } },
    ] },
    // MDIncrementalRefreshLimitsBanding
    Template { id: 34, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { security_id: At { offset: 24, since: 0 }, rpt_seq: At { offset: 28, since: 0 }, ..NONE } },
    ] },
    // MDIncrementalRefreshSessionStatistics
    Template { id: 35, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, rpt_seq: At { offset: 12, since: 0 }, md_entry_type: At { offset: 18, since: 0 }, md_entry_size: At { offset: 19, since: 8 }, price_unit: 100, ..NONE } },
    ] },
    // MDIncrementalRefreshVolume
    Template { id: 37, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_size: At { offset: 0, since: 0 }, security_id: At { offset: 4, since: 0 }, rpt_seq: At { offset: 8, since: 0 }, ..NONE } },
    ] },
    // SnapshotFullRefresh
    Template { id: 38, block: Fields { last_msg_seq_num_processed: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, rpt_seq: At { offset: 12, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, md_price_level: At { offset: 16, since: 0 }, md_entry_type: At { offset: 21, since: 0 }, price_unit: 100, ..NONE } },
    ] },
    // QuoteRequest
    Template { id: 39, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 31, since: 0 }, ..NONE }, groups: &[
        // NoRelatedSym
        Group { is_wide: false, fields: Fields { security_id: At { offset: 20, since: 0 }, ..NONE } },
    ] },
    // MDInstrumentDefinitionOption
    Template { id: 41, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
    // MDIncrementalRefreshTradeSummary
    Template { id: 42, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, aggressor_side: At { offset: 24, since: 0 }, md_update_action: At { offset: 25, since: 0 }, md_trade_entry_id: At { offset: 26, since: 7 }, price_unit: 100, ..NONE } },
        // NoOrderIDEntries
        Group { is_wide: true, fields: Fields { ..NONE } },
    ] },
    // MDIncrementalRefreshOrderBook
    Template { id: 43, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_entry_px: At { offset: 16, since: 0 }, md_display_qty: At { offset: 24, since: 0 }, security_id: At { offset: 28, since: 0 }, md_update_action: At { offset: 32, since: 0 }, md_entry_type: At { offset: 33, since: 0 }, price_unit: 100, ..NONE } },
    ] },
    // SnapshotFullRefreshOrderBook
    Template { id: 44, block: Fields { last_msg_seq_num_processed: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, no_chunks: At { offset: 12, since: 0 }, current_chunk: At { offset: 16, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_entry_px: At { offset: 16, since: 0 }, md_display_qty: At { offset: 24, since: 0 }, md_entry_type: At { offset: 28, since: 0 }, price_unit: 100, ..NONE } },
    ] },
    // MDIncrementalRefreshBook
    Template { id: 46, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, md_price_level: At { offset: 24, since: 0 }, md_update_action: At { offset: 25, since: 0 }, md_entry_type: At { offset: 26, since: 0 }, price_unit: 1, ..NONE } },
        // NoOrderIDEntries
        Group { is_wide: true, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_display_qty: At { offset: 16, since: 0 }, reference_id: At { offset: 20, since: 0 }, order_update_action: At { offset: 21, since: 0 }, ..NONE } },
    ] },
    // MDIncrementalRefreshOrderBook
    Template { id: 47, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_entry_px: At { offset: 16, since: 0 }, md_display_qty: At { offset: 24, since: 0 }, security_id: At { offset: 28, since: 0 }, md_update_action: At { offset: 32, since: 0 }, md_entry_type: At { offset: 33, since: 0 }, price_unit: 1, ..NONE } },
    ] },
    // MDIncrementalRefreshTradeSummary
    Template { id: 48, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, aggressor_side: At { offset: 24, since: 0 }, md_update_action: At { offset: 25, since: 0 }, md_trade_entry_id: At { offset: 26, since: 0 }, price_unit: 1, ..NONE } },
        // NoOrderIDEntries
        Group { is_wide: true, fields: Fields { ..NONE } },
    ] },
    // MDIncrementalRefreshDailyStatistics
    Template { id: 49, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, security_id: At { offset: 12, since: 0 }, rpt_seq: At { offset: 16, since: 0 }, md_entry_type: At { offset: 24, since: 0 }, price_unit: 1, ..NONE } },
    ] },
    // MDIncrementalRefreshLimitsBanding
    Template { id: 50, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { security_id: At { offset: 24, since: 0 }, rpt_seq: At { offset: 28, since: 0 }, ..NONE } },
    ] },
    // MDIncrementalRefreshSessionStatistics
    Template { id: 51, block: Fields { transact_time: At { offset: 0, since: 0 }, match_event_indicator: At { offset: 8, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, rpt_seq: At { offset: 12, since: 0 }, md_entry_type: At { offset: 18, since: 0 }, md_entry_size: At { offset: 19, since: 0 }, price_unit: 1, ..NONE } },
    ] },
    // SnapshotFullRefresh
    Template { id: 52, block: Fields { last_msg_seq_num_processed: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, rpt_seq: At { offset: 12, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { md_entry_px: At { offset: 0, since: 0 }, md_entry_size: At { offset: 8, since: 0 }, md_price_level: At { offset: 16, since: 0 }, md_entry_type: At { offset: 21, since: 0 }, price_unit: 1, ..NONE } },
    ] },
    // SnapshotFullRefreshOrderBook
    Template { id: 53, block: Fields { last_msg_seq_num_processed: At { offset: 0, since: 0 }, security_id: At { offset: 8, since: 0 }, no_chunks: At { offset: 12, since: 0 }, current_chunk: At { offset: 16, since: 0 }, ..NONE }, groups: &[
        // NoMDEntries
        Group { is_wide: false, fields: Fields { order_id: At { offset: 0, since: 0 }, md_order_priority: At { offset: 8, since: 0 }, md_entry_px: At { offset: 16, since: 0 }, md_display_qty: At { offset: 24, since: 0 }, md_entry_type: At { offset: 28, since: 0 }, price_unit: 1, ..NONE } },
    ] },
    // MDInstrumentDefinitionFuture
    Template { id: 54, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
    // MDInstrumentDefinitionOption
    Template { id: 55, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
    // MDInstrumentDefinitionSpread
    Template { id: 56, block: Fields { security_group: At { offset: 23, since: 0 }, symbol: At { offset: 35, since: 0 }, security_id: At { offset: 55, since: 0 }, ..NONE }, groups: &[
        // NoEvents
        Group { is_wide: false, fields: Fields { ..NONE } },
        // NoMDFeedTypes
        Group { is_wide: false, fields: Fields { md_feed_type: At { offset: 0, since: 0 }, market_depth: At { offset: 3, since: 0 }, ..NONE } },
    ] },
];
