import { Popover } from '@base-ui/react/popover';
import { useState } from 'react';
import { viewersZone } from '../format/time';
import { useRange, useSetRange, useSetSearch, useZone } from '../state/hooks';
import { beside, bounds, DEFAULT, fixed, label, moves, PRESETS } from '../state/range';
import { Button, buttonClass, Choose, TextField, ui } from '../ui/basics';
import { useShortcuts } from './keyboard';
import s from './shell.module.css';

/** Which time the page is about, and in whose zone. Back undoes. */
export function RangeControls() {
  const range = useRange();
  const set = useSetRange();
  const setSearch = useSetSearch();
  const zone = useZone();
  const own = viewersZone();
  const from = range.from ?? DEFAULT;
  const step = (direction: -1 | 1) => set(beside(range, direction, Date.now()));
  useShortcuts([
    { keys: '[', says: 'The time before', run: () => step(-1) },
    { keys: ']', says: 'The time after', run: () => step(1) },
    { keys: 'z', says: 'Undo the last zoom', run: () => history.back() },
  ]);
  const choices = PRESETS.map((value) => ({ value: value as string, label: label(value) }));
  if (!moves(range)) choices.push({ value: 'custom', label: 'Custom' });
  const zones = [...new Set([own, 'UTC', zone])].map((value) => ({ value, label: value }));
  return (
    <div className={s.range}>
      <Button aria-label="The time before" onClick={() => step(-1)}>
        ‹
      </Button>
      <Choose
        label="Range"
        value={moves(range) ? from : 'custom'}
        choices={choices}
        onChange={(value) =>
          value !== 'custom' && set({ from: value === DEFAULT ? undefined : value, zone: range.zone })
        }
      />
      <Button aria-label="The time after" onClick={() => step(1)} disabled={moves(range)}>
        ›
      </Button>
      <Custom key={`${range.from} ${range.to}`} zone={zone} />
      <Choose
        label="Zone of times"
        value={zone}
        choices={zones}
        onChange={(value) => setSearch({ zone: value === own ? undefined : value })}
      />
    </div>
  );
}

/** From one minute to another, in UTC, so that both ends are one moment for everybody. */
function Custom({ zone }: { zone: string }) {
  const range = useRange();
  const set = useSetRange();
  const [open, setOpen] = useState(false);
  const [first, end] = bounds(range, Date.now());
  const [from, setFrom] = useState(() => new Date(first).toISOString().slice(0, 16));
  const [to, setTo] = useState(() => new Date(end).toISOString().slice(0, 16));
  const wrong = Date.parse(`${from}Z`) >= Date.parse(`${to}Z`) ? 'The end must be after the beginning.' : null;
  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger className={buttonClass()}>Custom</Popover.Trigger>
      <Popover.Portal>
        <Popover.Positioner className={ui.positioner} sideOffset={4}>
          <Popover.Popup className={ui.popover} aria-label="Custom range">
            <form
              className={s.custom}
              onSubmit={(event) => {
                event.preventDefault();
                if (wrong) return;
                set(fixed(Date.parse(`${from}Z`), Date.parse(`${to}Z`), range.zone));
                setOpen(false);
              }}
            >
              <TextField
                label="From (UTC)"
                type="datetime-local"
                required
                value={from}
                onChange={(event) => setFrom(event.target.value)}
              />
              <TextField
                label="To (UTC)"
                type="datetime-local"
                required
                value={to}
                onChange={(event) => setTo(event.target.value)}
                wrong={wrong}
              />
              <span className={ui.hint}>The page shows it in {zone}.</span>
              <div className={ui.row}>
                <Button type="submit" look="primary">
                  Show
                </Button>
                <Button
                  onClick={() => {
                    set({ zone: range.zone });
                    setOpen(false);
                  }}
                >
                  Reset to 24 hours
                </Button>
              </div>
            </form>
          </Popover.Popup>
        </Popover.Positioner>
      </Popover.Portal>
    </Popover.Root>
  );
}
