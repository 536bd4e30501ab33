from modelwire.runnables.drawing import draw_mermaid as draw_mermaid
