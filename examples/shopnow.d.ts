/** Inputs of scorer.onnx for 'shopnow': made by types.mjs, not by hand. */

/** One user: every feature, null where it is missing. */
export interface User {
  /** Sessions in the last 7 days, sessions; from 0 to 500. */
  sessions_last_7d: number;
  /** Sessions in the last 30 days, sessions; from 0 to 2000. */
  sessions_last_30d: number;
  /** Average session length, seconds; from 0 to 14400. */
  avg_session_duration: number | null;
  /** Pages viewed in the last 30 days, pages; from 0 to 50000. */
  pages_viewed: number;
  /** Product pages viewed in the last 30 days, pages; from 0 to 50000. */
  product_views_last_30d: number;
  /** Searches in the last 30 days, searches; from 0 to 10000. */
  searches_last_30d: number;
  /** Share of sessions with an add-to-cart, share; from 0 to 1. */
  cart_add_rate: number | null;
  /** Share of carts not ordered, share; from 0 to 1. */
  cart_abandonment_rate: number | null;
  /** Checkouts started in the last 30 days, checkouts; from 0 to 1000. */
  checkout_starts_last_30d: number;
  /** Wish-list items added in the last 30 days, items; from 0 to 5000. */
  wishlist_adds_last_30d: number;
  /** Share of one-page sessions, share; from 0 to 1. */
  bounce_rate: number | null;
  /** Days since the last session, days; from 0 to 365. */
  days_since_last_session: number;
  /** Orders in the last 90 days, orders; from 0 to 500. */
  orders_last_90d: number;
  /** Orders in the last 365 days, orders; from 0 to 2000. */
  orders_last_365d: number;
  /** Average order value, USD; from 0 to 100000. */
  avg_order_value: number | null;
  /** Spend in the last 365 days, USD; from 0 to 1000000. */
  total_spend_last_365d: number;
  /** Share of orders refunded, share; from 0 to 1. */
  refund_rate: number | null;
  /** Days since the last order, days; from 0 to 365. */
  days_since_last_purchase: number | null;
  /** Average items per order, items; from 1 to 500. */
  avg_items_per_order: number | null;
  /** Share of orders with a discount, share; from 0 to 1. */
  discounted_order_share: number | null;
  /** Share of e-mails opened, share; from 0 to 1. */
  email_open_rate: number | null;
  /** Share of e-mails clicked, share; from 0 to 1. */
  email_click_rate: number | null;
  /** Share of push messages clicked, share; from 0 to 1. */
  push_click_rate: number | null;
  /** Share of text messages clicked, share; from 0 to 1. */
  sms_click_rate: number | null;
  /** Coupons redeemed in the last 90 days, coupons; from 0 to 500. */
  coupon_redemptions: number | null;
  /** Paid-ad clicks in the last 30 days, clicks; from 0 to 5000. */
  ad_clicks_last_30d: number | null;
  /** Country. */
  country: "AE" | "AT" | "AU" | "BE" | "BR" | "CA" | "CH" | "CZ" | "DE" | "DK" | "ES" | "FI" | "FR" | "GB" | "IE" | "IN" | "IT" | "JP" | "MX" | "NL" | "NO" | "PL" | "PT" | "SE" | "US" | null;
  /** Main device. */
  device_type: "ios_app" | "android_app" | "mobile_web" | "desktop" | "tablet" | null;
  /** Acquisition channel. */
  acquisition_channel: "organic_search" | "paid_search" | "social" | "referral" | "email" | "affiliate" | "direct" | null;
  /** Loyalty tier. */
  loyalty_tier: "none" | "bronze" | "silver" | "gold" | "platinum" | null;
  /** Age band. */
  age_band: "18-24" | "25-34" | "35-44" | "45-54" | "55-64" | "65+" | null;
  /** Preferred language. */
  preferred_language: "cs" | "da" | "de" | "en" | "es" | "fi" | "fr" | "it" | "ja" | "nl" | "pl" | "pt" | null;
  /** Days since registration, days; from 0 to 7300. */
  account_age_days: number | null;
  /** Share of sessions at weekends, share; from 0 to 1. */
  weekend_activity_ratio: number | null;
  /** Share of sessions in the evening, share; from 0 to 1. */
  evening_session_share: number | null;
  /** Recency score, score; from 0 to 1. */
  recency_score: number;
  /** Activity trend, log ratio; from -8 to 8. */
  activity_trend: number;
  /** Days since last order in usual gaps between orders, ratio; from 0 to 100. */
  purchase_cadence_ratio: number | null;
}
