export interface Point {
  readonly x: number;
  readonly y: number;
}

/** An outline as a signed distance, so that edges are smooth at any size and shading knows how deep a pixel lies. */
export interface Shape {
  /** px from the outline, negative inside. */
  readonly distance: (x: number, y: number) => number;
  /** px: the box outside which nothing is inside. */
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** A stroke from a to b whose radius goes from `startRadius` to `endRadius`; round at both ends. */
export function limb(a: Point, b: Point, startRadius: number, endRadius: number): Shape {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const inverse = 1 / Math.max(dx * dx + dy * dy, 1e-9);
  const distance = (x: number, y: number) => {
    const t = Math.max(0, Math.min(1, ((x - a.x) * dx + (y - a.y) * dy) * inverse));
    const px = x - a.x - t * dx;
    const py = y - a.y - t * dy;
    return Math.sqrt(px * px + py * py) - startRadius - t * (endRadius - startRadius);
  };
  const r = Math.max(startRadius, endRadius);
  return { distance, left: Math.min(a.x, b.x) - r, right: Math.max(a.x, b.x) + r, top: Math.min(a.y, b.y) - r, bottom: Math.max(a.y, b.y) + r };
}

/** An ellipse, turned by `angle` radians. The distance is exact on the outline and near enough beside it. */
export function ellipse(center: Point, radiusX: number, radiusY: number, angle = 0): Shape {
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  const distance = (x: number, y: number) => {
    const u = ((x - center.x) * cos + (y - center.y) * sin) / radiusX;
    const v = ((y - center.y) * cos - (x - center.x) * sin) / radiusY;
    const k = Math.sqrt(u * u + v * v);
    const slope = Math.hypot(u / radiusX, v / radiusY);
    return slope < 1e-9 ? -Math.min(radiusX, radiusY) : (k * (k - 1)) / slope;
  };
  const r = Math.max(radiusX, radiusY);
  return { distance, left: center.x - r, right: center.x + r, top: center.y - r, bottom: center.y + r };
}

/** A polygon whose corners are rounded outwards by `radius` px (Quilez, "2D distance functions"). */
export function polygon(corners: readonly Point[], radius = 0): Shape {
  const edges = corners.map((a, i) => {
    const b = corners[(i + 1) % corners.length]!;
    const dx = b.x - a.x;
    const dy = b.y - a.y;
    return { ax: a.x, ay: a.y, by: b.y, dx, dy, inverse: 1 / Math.max(dx * dx + dy * dy, 1e-9) };
  });
  const distance = (x: number, y: number) => {
    let nearest = Infinity;
    let inside = false;
    for (const { ax, ay, by, dx, dy, inverse } of edges) {
      const wx = x - ax;
      const wy = y - ay;
      const t = Math.max(0, Math.min(1, (wx * dx + wy * dy) * inverse));
      const px = wx - t * dx;
      const py = wy - t * dy;
      nearest = Math.min(nearest, px * px + py * py);
      if (ay > y !== by > y && wx < (dx * wy) / dy) inside = !inside;
    }
    return (inside ? -1 : 1) * Math.sqrt(nearest) - radius;
  };
  const xs = corners.map(({ x }) => x);
  const ys = corners.map(({ y }) => y);
  return { distance, left: Math.min(...xs) - radius, right: Math.max(...xs) + radius, top: Math.min(...ys) - radius, bottom: Math.max(...ys) + radius };
}

export function rectangle(left: number, top: number, right: number, bottom: number): Shape {
  const distance = (x: number, y: number) => Math.max(left - x, x - right, top - y, y - bottom);
  return { distance, left, top, right, bottom };
}

/** What lies in both. */
export function intersect(a: Shape, b: Shape): Shape {
  const distance = (x: number, y: number) => Math.max(a.distance(x, y), b.distance(x, y));
  return { distance, left: Math.max(a.left, b.left), top: Math.max(a.top, b.top), right: Math.min(a.right, b.right), bottom: Math.min(a.bottom, b.bottom) };
}
