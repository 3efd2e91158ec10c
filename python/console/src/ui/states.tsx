/** What a page shows while there is nothing to show: loading, an error, nothing yet, not for this role. */
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ApiError, Offline } from '../api/client';
import type { Role } from '../api/types';
import { clock } from '../format/time';
import { useZone } from '../state/hooks';
import { Button, ui } from './basics';

/** A grey place of the size of what will stand there, so that nothing jumps. */
export function Skeleton({ height }: { height: number }) {
  return <div className={ui.skeleton} style={{ height }} aria-hidden="true" />;
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className={ui.state}>
      <strong>{title}</strong>
      {children}
    </div>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const forbidden = error instanceof ApiError && error.status === 403;
  return (
    <div className={ui.alert} role="alert">
      <strong>{forbidden ? 'Not for your role' : 'This could not be loaded'}</strong>
      <span>{said(error)}</span>
      {error instanceof ApiError && error.requestId && <span className={ui.muted}>request id {error.requestId}</span>}
      {retry && !forbidden && (
        <span>
          <Button onClick={retry}>Retry</Button>
        </span>
      )}
    </div>
  );
}

/** Instead of a page, or a part of one, that a higher role may see. */
export function Forbidden({ needs, children }: { needs: Role; children?: ReactNode }) {
  return (
    <div className={ui.alert} role="alert">
      <strong>Not for your role</strong>
      <span>
        This needs the role {needs}. {children}
      </span>
    </div>
  );
}

/** An error in words. */
export function said(error: unknown): string {
  if (error instanceof Offline) return 'The gateway does not answer. It may be starting again.';
  return error instanceof Error ? error.message : String(error);
}

/** A query's result: its data as soon as there is any, and what is wrong above data that is old. */
export function Loaded<T>(props: { query: UseQueryResult<T>; height?: number; children: (data: T) => ReactNode }) {
  const { data, error, refetch, dataUpdatedAt } = props.query;
  const zone = useZone();
  const retry = () => {
    void refetch();
  };
  if (data === undefined) {
    if (error) return <Failure error={error} retry={retry} />;
    return (
      <div aria-busy="true">
        <span className="sr-only">Loading</span>
        <Skeleton height={props.height ?? 160} />
      </div>
    );
  }
  return (
    <>
      {error && (
        <div className={ui.alert} role="alert">
          <span>
            {said(error)} What is shown is of {clock(dataUpdatedAt, zone)}. <Button onClick={retry}>Retry</Button>
          </span>
        </div>
      )}
      {props.children(data)}
    </>
  );
}
