import { Menu as Base } from '@base-ui/react/menu';
import type { ReactNode } from 'react';
import { buttonClass, ui } from './basics';

export interface Item {
  label: ReactNode;
  onPick: () => void;
}

export function Menu({ label, shown, items }: { label: string; shown: ReactNode; items: readonly Item[] }) {
  return (
    <Base.Root modal={false}>
      <Base.Trigger className={buttonClass('plain')} aria-label={label}>
        {shown}
      </Base.Trigger>
      <Base.Portal>
        <Base.Positioner className={ui.positioner} sideOffset={4} align="end">
          <Base.Popup className={ui.menu}>
            {items.map((item, index) => (
              <Base.Item key={index} className={ui.item} onClick={item.onPick}>
                {item.label}
              </Base.Item>
            ))}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
