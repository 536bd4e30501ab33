from modelwire.runnables.drawing import draw_ascii as draw_ascii
