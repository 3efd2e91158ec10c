import { Dialog as Base } from '@base-ui/react/dialog';
import { createContext, type ReactNode, useContext } from 'react';
import { Button, ui } from './basics';

const Busy = createContext(false);

/** A dialog; focus goes back to where it was. `held` keeps it open against Esc and clicks beside it; `busy`, while what it does is under way,
 * against everything: who cannot see how that ends does it again. */
export function Dialog(props: {
  open: boolean;
  onClose: () => void;
  title: string;
  held?: boolean;
  busy?: boolean;
  children: ReactNode;
}) {
  return (
    <Base.Root
      open={props.open}
      disablePointerDismissal={props.held ?? false}
      onOpenChange={(open, details) => {
        if (open) return;
        if (props.busy || (props.held && details.reason === 'escape-key')) details.cancel();
        else props.onClose();
      }}
    >
      <Base.Portal>
        <Base.Backdrop className={ui.backdrop} />
        <Base.Popup className={ui.dialog}>
          <Base.Title render={<h2 />}>{props.title}</Base.Title>
          <Busy.Provider value={props.busy ?? false}>{props.children}</Busy.Provider>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}

/** The button that leaves a dialog, or a step of it, without doing anything. */
export function Cancel({ onClick, children = 'Cancel' }: { onClick: () => void; children?: ReactNode }) {
  return (
    <Button onClick={onClick} disabled={useContext(Busy)}>
      {children}
    </Button>
  );
}
