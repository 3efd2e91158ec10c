/** Shapes of replies, by the names that pages use; made from the gateway's own OpenAPI document. */
import type { components } from './schema';

type Schemas = components['schemas'];

export type Session = Schemas['SessionShown'];
export type Role = Session['role'];
export type Generation = Schemas['GenerationRow'];
export type Attempt = Schemas['Attempt'];
export type RequestsPage = Schemas['RequestsPage'];
export type RequestData = Schemas['RequestData'];
export type Key = Schemas['KeyShown'];
export type KeyMade = Schemas['KeyMade'];
export type Health = Schemas['Report'];
export type SeriesReply = Schemas['SeriesReply'];
export type Series = Schemas['Series'];
export type LatencyReply = Schemas['LatencyReply'];
export type ErrorsReply = Schemas['ErrorsReply'];
export type Model = Schemas['ModelLine'];
export type Endpoint = Schemas['EndpointLine'];
export type Estimate = Schemas['EstimateLine'];
export type PriceHistory = Schemas['PriceHistory'];
export type Strip = Schemas['Strip'];
export type Probe = Schemas['Probe'];
export type Recalled = Schemas['Recalled'];
export type Chosen = Schemas['Chosen'];
export type Provider = Schemas['ProviderLine'];
export type Budget = Schemas['BudgetLine'];
export type AuditEntry = Schemas['AuditEntry'];
export type Setup = Schemas['Setup'];
