/* Where the card of a token stands: below it, above it or beside it, whichever has room; where none has, in the largest of
   them, where it scrolls. It never covers its token unless the screen has no room for both. Stands before card.js. */
const GAP = 8;
const LEAST = 150; // pixels of height below which a card cannot be read

/* The box of all lines of a token, as far as it is on the screen. */
function spotOf(span) {
  const [box, width, height] = [span.getBoundingClientRect(), document.documentElement.clientWidth, window.innerHeight];
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  return { left: within(box.left, width), right: within(box.right, width), top: within(box.top, height), bottom: within(box.bottom, height), width, height };
}

const below = (spot) => spot.height - spot.bottom - 2 * GAP;
const above = (spot) => spot.top - 2 * GAP;

/* Scrolls a token away from the middle of a low screen, so that its card has room under it; then calls `after`. */
function makeRoom(span, after) {
  const spot = spotOf(span);
  if (Math.max(below(spot), above(spot)) >= LEAST) return;
  window.scrollBy(0, span.getBoundingClientRect().top - GAP);
  requestAnimationFrame(after);
}

function place(span) {
  const spot = spotOf(span);
  const scrolled = card.scrollTop;
  card.style.cssText = "";
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const beside = spot.width - spot.right >= width + 2 * GAP ? spot.right + GAP : spot.left >= width + 2 * GAP ? spot.left - GAP - width : null;
  const across = Math.min(Math.max(spot.left - 12, GAP), spot.width - width - GAP);
  const [under, over] = [below(spot), above(spot)];
  if (height > Math.max(under, over) && beside !== null) {
    put(beside, Math.min(Math.max(spot.top - 40, GAP), Math.max(GAP, spot.height - height - GAP)), spot.height - 2 * GAP);
  } else if (height <= under || under >= over) put(across, ...(under >= 60 ? [spot.bottom + GAP, under] : [GAP, spot.height - 2 * GAP]));
  else put(across, Math.max(GAP, spot.top - GAP - height), over);
  card.scrollTop = scrolled;
}

function put(left, top, most) {
  card.style.cssText = `left:${left}px;top:${top}px;max-height:${most}px`;
}
