/** How long the buckets of a chart are, in words. */
export const STEP_WORDS: Record<string, string> = {
  minute: 'per minute',
  quarter: 'per 15 minutes',
  hour: 'per hour',
  day: 'per day',
  month: 'per month',
};
