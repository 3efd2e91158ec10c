import { Dialog as Base } from '@base-ui/react/dialog';
import type { ReactNode } from 'react';
import { ui } from './basics';

/** A dialog; focus goes back to where it was. `held` keeps it open against Esc and clicks beside it. */
export function Dialog(props: {
  open: boolean;
  onClose: () => void;
  title: string;
  held?: boolean;
  children: ReactNode;
}) {
  return (
    <Base.Root
      open={props.open}
      disablePointerDismissal={props.held ?? false}
      onOpenChange={(open, details) => {
        if (open) return;
        if (props.held && details.reason === 'escape-key') details.cancel();
        else props.onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className={ui.backdrop} />
        <Base.Popup className={ui.dialog}>
          <Base.Title render={<h2 />}>{props.title}</Base.Title>
          {props.children}
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
