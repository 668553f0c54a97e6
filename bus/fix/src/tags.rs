//! The numbers of the fields that the session layer and order entry speak of.

macro_rules! tags {
    ($($name:ident = $number:literal, $what:literal;)*) => {
        $(#[doc = $what] pub const $name: i32 = $number;)*
    };
}

tags! {
    ACCOUNT = 1, "Account.";
    AVG_PX = 6, "AvgPx: the average price of what was filled.";
    BEGIN_SEQ_NO = 7, "BeginSeqNo: the first message that is asked for.";
    BEGIN_STRING = 8, "BeginString: which FIX.";
    BODY_LENGTH = 9, "BodyLength: the bytes between this field and CheckSum.";
    CHECK_SUM = 10, "CheckSum.";
    CL_ORD_ID = 11, "ClOrdID: the buyer's or seller's own name of an order or request.";
    CUM_QTY = 14, "CumQty: how much of an order is filled.";
    END_SEQ_NO = 16, "EndSeqNo: the last message that is asked for.";
    EXEC_ID = 17, "ExecID.";
    EXEC_REF_ID = 19, "ExecRefID: which report is busted or corrected.";
    EXEC_TRANS_TYPE = 20, "ExecTransType, up to FIX 4.2.";
    LAST_PX = 31, "LastPx: the price of this fill.";
    LAST_QTY = 32, "LastQty: the size of this fill.";
    MSG_SEQ_NUM = 34, "MsgSeqNum.";
    MSG_TYPE = 35, "MsgType.";
    NEW_SEQ_NO = 36, "NewSeqNo: the number of the next message.";
    ORDER_ID = 37, "OrderID: the venue's name of an order.";
    ORDER_QTY = 38, "OrderQty.";
    ORD_STATUS = 39, "OrdStatus.";
    ORD_TYPE = 40, "OrdType.";
    ORIG_CL_ORD_ID = 41, "OrigClOrdID: the order that is to be changed.";
    POSS_DUP_FLAG = 43, "PossDupFlag: this number may have been sent before.";
    PRICE = 44, "Price.";
    REF_SEQ_NUM = 45, "RefSeqNum: the message that is rejected.";
    SENDER_COMP_ID = 49, "SenderCompID.";
    SENDER_SUB_ID = 50, "SenderSubID.";
    SENDING_TIME = 52, "SendingTime.";
    SIDE = 54, "Side.";
    SYMBOL = 55, "Symbol.";
    TARGET_COMP_ID = 56, "TargetCompID.";
    TARGET_SUB_ID = 57, "TargetSubID.";
    TEXT = 58, "Text.";
    TIME_IN_FORCE = 59, "TimeInForce.";
    TRANSACT_TIME = 60, "TransactTime.";
    POSS_RESEND = 97, "PossResend: these contents may have been sent before.";
    ENCRYPT_METHOD = 98, "EncryptMethod.";
    CXL_REJ_REASON = 102, "CxlRejReason.";
    ORD_REJ_REASON = 103, "OrdRejReason.";
    HEART_BT_INT = 108, "HeartBtInt, in seconds.";
    TEST_REQ_ID = 112, "TestReqID.";
    ON_BEHALF_OF_COMP_ID = 115, "OnBehalfOfCompID.";
    ON_BEHALF_OF_SUB_ID = 116, "OnBehalfOfSubID.";
    ORIG_SENDING_TIME = 122, "OrigSendingTime: when a repeated message was first sent.";
    GAP_FILL_FLAG = 123, "GapFillFlag.";
    DELIVER_TO_COMP_ID = 128, "DeliverToCompID.";
    DELIVER_TO_SUB_ID = 129, "DeliverToSubID.";
    RESET_SEQ_NUM_FLAG = 141, "ResetSeqNumFlag: both sides begin at 1.";
    ON_BEHALF_OF_LOCATION_ID = 144, "OnBehalfOfLocationID.";
    DELIVER_TO_LOCATION_ID = 145, "DeliverToLocationID.";
    EXEC_TYPE = 150, "ExecType.";
    LEAVES_QTY = 151, "LeavesQty: how much of an order is still open.";
    REF_TAG_ID = 371, "RefTagID: the field that is wrong.";
    REF_MSG_TYPE = 372, "RefMsgType: the type of the rejected message.";
    SESSION_REJECT_REASON = 373, "SessionRejectReason.";
    BUSINESS_REJECT_REASON = 380, "BusinessRejectReason.";
    CXL_REJ_RESPONSE_TO = 434, "CxlRejResponseTo.";
    MASS_CANCEL_REQUEST_TYPE = 530, "MassCancelRequestType.";
    MASS_CANCEL_RESPONSE = 531, "MassCancelResponse.";
    MASS_CANCEL_REJECT_REASON = 532, "MassCancelRejectReason.";
    TOTAL_AFFECTED_ORDERS = 533, "TotalAffectedOrders.";
    MASS_STATUS_REQ_ID = 584, "MassStatusReqID.";
    MASS_STATUS_REQ_TYPE = 585, "MassStatusReqType.";
    NEXT_EXPECTED_MSG_SEQ_NUM = 789, "NextExpectedMsgSeqNum.";
    TOT_NUM_REPORTS = 911, "TotNumReports: how many reports answer a request for many.";
    LAST_RPT_REQUESTED = 912, "LastRptRequested: this is the last of them.";
    APPL_VER_ID = 1128, "ApplVerID, of one message.";
    DEFAULT_APPL_VER_ID = 1137, "DefaultApplVerID, of a session.";
}

/// Whether a field belongs to the header of any message, whatever a dictionary says.
pub const fn is_header(tag: i32) -> bool {
    matches!(
        tag,
        8 | 9
            | 34
            | 35
            | 43
            | 49
            | 50
            | 52
            | 56
            | 57
            | 90
            | 91
            | 97
            | 115
            | 116
            | 122
            | 128
            | 129
            | 142
            | 143
            | 144
            | 145
            | 212
            | 213
            | 347
            | 369
            | 370
            | 627
            | 1128
            | 1129
            | 1156
    )
}

/// Whether a field belongs to the end of any message.
pub const fn is_trailer(tag: i32) -> bool {
    matches!(tag, 10 | 89 | 93)
}

/// The field that says how long a field of data is, for those of the standard. Nearly always it is
/// the number before; the signature is the exception.
pub const fn length_of(data: i32) -> Option<i32> {
    match data {
        89 => Some(93),
        91 | 96 | 213 | 349 | 351 | 353 | 355 | 357 | 359 | 361 | 363 | 365 | 446 | 619 | 622
        | 1185 | 1278 | 1281 | 1283 | 1360 | 1398 | 1402 | 1404 | 1469 | 1527 => Some(data - 1),
        _ => None,
    }
}
